"""The file tree of a new Debian or Ubuntu, from which machines boot, and the programs for that."""

import fcntl
import os
import platform
import shutil
import subprocess
from pathlib import Path

DIRECTORY = Path("/var/tmp/orderapi-test-deploy")  # trees are kept there for later runs
PROGRAMS = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "pasta": "passt",
    "mkfs.ext4": "e2fsprogs",
    "ip": "iproute2",
}
INCLUDED = (
    "systemd,systemd-sysv,dbus,udev,python3,ca-certificates,curl,sudo,iproute2,procps,apt-utils"
)
_INDEX = "$(REPO_URI) $(RELEASE) $(COMPONENT)"


class CannotBoot(Exception):
    """This machine cannot boot another one; the message says what is missing."""


def default_suite() -> str:
    """Give the name of the distribution release that this machine runs."""
    return platform.freedesktop_os_release().get("VERSION_CODENAME", "")


def install_programs() -> None:
    """Install the missing programs with apt. Raises CannotBoot if that is not possible."""
    if os.geteuid() != 0:
        raise CannotBoot("root is needed to boot a system")
    if shutil.which("apt-get") is None:
        raise CannotBoot("this machine has no apt, and the system comes from the mirrors of apt")
    missing = {package for name, package in PROGRAMS.items() if shutil.which(name) is None}
    if missing:
        install = ["apt-get", "-qq", "install", "--yes", "--no-install-recommends", *missing]
        environ = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "-qq", "update"], check=False)
        if subprocess.run(install, env=environ, stdout=subprocess.DEVNULL).returncode != 0:
            raise CannotBoot(f"apt cannot install {', '.join(sorted(missing))}")


def base_tree(suite: str) -> Path:
    """Give the tree of a new system. The tree is made once and then kept."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    base = DIRECTORY / f"base-{suite}"
    with (DIRECTORY / f"base-{suite}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (base / "made").exists():
            _make_base_tree(base, suite)
    return base


def _make_base_tree(base: Path, suite: str) -> None:
    mirrors = _mirrors(suite)
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    uri, _, components = mirrors[0].split(" ", 2)
    options = ["--variant=minbase", f"--components={components.replace(' ', ',')}"]
    run_here("debootstrap", *options, f"--include={INCLUDED}", suite, str(base), uri)
    sources = "".join(f"deb {mirror}\n" for mirror in mirrors)
    (base / "etc/apt/sources.list").write_text(sources)
    resolved = Path("/run/systemd/resolve/resolv.conf")
    resolver = resolved if resolved.exists() else Path("/etc/resolv.conf")
    (base / "etc/resolv.conf").unlink(missing_ok=True)
    (base / "etc/resolv.conf").write_text(resolver.read_text())
    # The guest trusts the additional certificates that this machine trusts.
    own = list(Path("/usr/local/share/ca-certificates").glob("*.crt"))
    for certificate in own:
        shutil.copy(certificate, base / "usr/local/share/ca-certificates")
    if own:
        run_here("chroot", str(base), "update-ca-certificates")
        bundle = "[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n"
        (base / "etc/pip.conf").write_text(bundle)
    (base / "etc/machine-id").write_text("")
    (base / "var/log/journal").mkdir(parents=True, exist_ok=True)
    (base / "made").touch()


def _mirrors(suite: str) -> list[str]:
    """Give `URI suite components` for a release and its updates, from the apt of this machine."""
    own = default_suite()
    is_ubuntu = platform.freedesktop_os_release().get("ID") == "ubuntu"
    components = "main universe" if is_ubuntu else "main"
    targets = output_here("apt-get", "indextargets", "--format", _INDEX, "Created-By: Packages")
    found = []
    for uri, release, component in (line.split() for line in sorted(set(targets.splitlines()))):
        if component == "main" and (release == own or release.startswith(f"{own}-")):
            found.append(f"{uri} {release.replace(own, suite, 1)} {components}")
    found = [mirror for mirror in found if "backports" not in mirror]
    found.sort(key=lambda mirror: mirror.split()[1] != suite)
    if not found or found[0].split()[1] != suite:
        raise CannotBoot(f"the apt of this machine has no mirror for {suite}")
    return found


def run_here(*command: str) -> None:
    """Run a program of this machine. Raises CannotBoot, with its output, if it fails."""
    output_here(*command)


def output_here(*command: str) -> str:
    """Run a program of this machine and give its output. Raises CannotBoot if it fails."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        raise CannotBoot(f"{' '.join(command)}: {done.stdout[-1000:]}{done.stderr[-1000:]}")
    return done.stdout
