"""A new Debian or Ubuntu with a systemd of its own, whose power can be cut.

systemd-nspawn boots the system from a disk image. The system has a network of its own, which
reaches the outside through passt.
"""

import ctypes
import fcntl
import os
import re
import shutil
import signal
import struct
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import IO

from tests.deploy.drill.base_tree import DIRECTORY, CannotBoot, base_tree, output_here, run_here

BOOT_MAX_S = 120.0
# The ioctl FS_IOC_SHUTDOWN of Linux, with the flag FS_SHUTDOWN_FLAGS_NOLOGFLUSH, discards all data
# that was not synced.
FS_IOC_SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
# The file is sparse. A whole drill makes several backups of some hundred thousand orders.
_DISK_BYTES = 16 << 30
_AS_A_SERVICE = (
    *("systemd-run", "--quiet", "--pipe", "--wait", "--collect"),
    *("--working-directory=/root", "--setenv=HOME=/root", "--setenv=LANG=C.UTF-8"),
)


class Machine:
    """One booted system. Its disk is an image, which is mounted on this machine as `root`."""

    def __init__(self, suite: str) -> None:
        # Several runs at once have machines with different names.
        self.name = f"orderapi-{suite}-{os.getpid()}"
        self.root = DIRECTORY / f"{self.name}.root"
        self._image = DIRECTORY / f"{self.name}.img"
        self._console = DIRECTORY / f"{self.name}.console"
        self._base = base_tree(suite)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._pasta: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Machine":
        self.root.mkdir()
        with self._image.open("wb") as image:
            image.truncate(_DISK_BYTES)
        try:
            run_here("mkfs.ext4", "-q", "-F", "-d", str(self._base), str(self._image))
            self._make_network()
            self.boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._unmount()
        if self._pasta is not None:
            self._pasta.kill()
            self._pasta.wait()
        subprocess.run(["ip", "netns", "delete", self.name], capture_output=True)
        self._remove_cgroups()
        self._image.unlink()
        self._console.unlink(missing_ok=True)
        self.root.rmdir()

    def boot(self) -> None:
        """Start the system from its disk, and wait until it is up."""
        run_here("mount", "-o", "loop", str(self._image), str(self.root))
        command = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit"]
        command += [f"--directory={self.root}", f"--machine={self.name}", "--capability=all"]
        command += [f"--network-namespace-path=/run/netns/{self.name}"]
        command += ["--resolv-conf=off", "--timezone=off", "--link-journal=no"]
        # Without this system call, systemd ignores IPAddressDeny= and DevicePolicy= of the units.
        command += ["--system-call-filter=bpf"]
        environ = dict(os.environ)
        if Path("/run/systemd/system").is_dir():
            command = ["systemd-run", "--quiet", "--scope", "--property=Delegate=yes", *command]
        elif not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            environ["SYSTEMD_NSPAWN_UNIFIED_HIERARCHY"] = "1"
        with self._console.open("ab") as console:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                env=environ,
                start_new_session=True,
                preexec_fn=self._enter_cgroups,
            )
        self._wait_until_up()

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command inside, as root, as a service of its own."""
        done = subprocess.run(
            [*self._inside(), *_AS_A_SERVICE, "/bin/bash", "-c", command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=900,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def popen(self, *command: str, stdout: IO[bytes] | int) -> subprocess.Popen[bytes]:
        """Start a program of this machine in the network of the booted system."""
        return subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.name}", *command],
            stdin=subprocess.PIPE,
            stdout=stdout,
        )

    def copy(self, source: Path, destination: str) -> None:
        """Copy a directory into the running system."""
        target = Path(f"{self.root}{destination}")
        shutil.copytree(source, target, dirs_exist_ok=True)

    def reboot(self) -> None:
        """Shut the system down in an orderly way, and boot it again."""
        with suppress(subprocess.SubprocessError, AssertionError):
            subprocess.run([*self._inside(), "systemctl", "poweroff"], timeout=60, check=False)
        assert self._nspawn is not None
        self._nspawn.wait(120)
        self._unmount()
        self.boot()

    def cut_power(self) -> None:
        """Kill everything at once, discard all data that was not synced, and boot again."""
        self.kill()
        directory = os.open(self.root, os.O_RDONLY)
        fcntl.ioctl(directory, FS_IOC_SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        os.close(directory)
        self._unmount()
        self.boot()

    def kill(self) -> None:
        """Kill the first process of the system. The kernel then kills all others."""
        if self._nspawn is None:
            return
        leader = self._leader()
        if leader is not None:
            with suppress(ProcessLookupError):
                os.kill(leader, signal.SIGKILL)
        with suppress(ProcessLookupError):
            self._nspawn.kill()
        self._nspawn.wait(60)
        self._nspawn = None

    def _inside(self) -> list[str]:
        leader = self._leader()
        assert leader is not None, f"{self.name} is not running: {self._console.read_text()}"
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        return ["nsenter", f"--target={leader}", "--all", "--", "/usr/bin/env", "-i", path]

    def _leader(self) -> int | None:
        """Find the child of nspawn that is process 1 inside of the system."""
        below = [self._nspawn.pid] if self._nspawn is not None else []
        while below:
            pid = below.pop()
            with suppress(OSError):
                for children in Path(f"/proc/{pid}/task").glob("*/children"):
                    below += map(int, children.read_text().split())
                status = Path(f"/proc/{pid}/status").read_text()
                if re.search(r"^NSpid:(\t\d+)+\t1$", status, re.MULTILINE):
                    return pid
        return None

    def _wait_until_up(self) -> None:
        give_up_at = time.monotonic() + BOOT_MAX_S
        while time.monotonic() < give_up_at:
            leader = self._leader()
            if leader is not None and Path(f"/proc/{leader}/root/run/systemd/private").exists():
                state = ["systemctl", "is-system-running", "--wait"]
                subprocess.run([*self._inside(), *state], capture_output=True, timeout=BOOT_MAX_S)
                return
            time.sleep(0.05)
        raise CannotBoot(f"the system did not boot: {self._console.read_text()[-2000:]}")

    def _enter_cgroups(self) -> None:
        for cgroup in self._cgroups():
            cgroup.mkdir(exist_ok=True)
            (cgroup / "cgroup.procs").write_text(str(os.getpid()))

    def _remove_cgroups(self) -> None:
        for cgroup in filter(Path.exists, self._cgroups()):
            inner = [path for path in cgroup.rglob("*") if path.is_dir()]
            for path in [*sorted(inner, reverse=True), cgroup]:
                path.rmdir()

    def _cgroups(self) -> list[Path]:
        """Give the cgroups to make for nspawn, if no systemd of this machine makes them."""
        if Path("/run/systemd/system").is_dir():
            return []
        trees = [Path("/sys/fs/cgroup", name) for name in ("unified", "systemd")]
        there = [tree for tree in trees if tree.is_dir()] or [Path("/sys/fs/cgroup")]
        return [tree / self.name for tree in there]

    def _make_network(self) -> None:
        run_here("ip", "netns", "add", self.name)
        run_here("ip", "-n", self.name, "link", "set", "lo", "up")
        command = ["pasta", "--config-net", "--netns", f"/run/netns/{self.name}", "--runas", "0"]
        command += ["--foreground", "--quiet", "--ns-ifname", "eth0", "--no-map-gw"]
        command += ["-t", "none", "-u", "none", "-T", "none", "-U", "none"]
        self._pasta = subprocess.Popen(command, stdin=subprocess.DEVNULL)

    def _unmount(self) -> None:
        """Unmount the disk, and wait until the last process inside has released it."""
        if self.root.is_mount():
            run_here("umount", "--lazy", str(self.root))
        give_up_at = time.monotonic() + 60
        while output_here("losetup", "--associated", str(self._image)):
            assert time.monotonic() < give_up_at, f"{self._image} is still in use"
            time.sleep(0.05)


def hide_mounts() -> None:
    """Hide the mounts of this process and its children, because others would keep them in use."""
    clone_newns = 0x20000
    if ctypes.CDLL(None, use_errno=True).unshare(clone_newns) != 0:
        raise CannotBoot("this process cannot have mounts of its own")
    run_here("mount", "--make-rprivate", "/")
