"""The life of a machine with the service, under load: `python -m tests.deploy.drill`.

The drill prints a row for each operation, with the number of requests and of failed requests. The
exit code is 1 if a request failed that must not fail, or if an acknowledged order is missing.
"""

import argparse
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.drill import access, consoled, hosted, moved, refused, relayed, variants
from tests.deploy.drill.base_tree import CannotBoot, default_suite, install_programs
from tests.deploy.drill.box import DATABASE, ENV_FILE, Box
from tests.deploy.drill.machine import Machine, hide_mounts

INSTALLATION_MAX_S = 120.0
AT_REST_MAX_MIB = 150
EXPOSURE_MAX = 0.5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--suite", default=default_suite(), help="trixie, bookworm, noble ...")
    arguments.add_argument("--only", nargs="*", choices=CHAPTERS, default=list(CHAPTERS))
    arguments.add_argument(
        "--auth",
        choices=access.MODES,
        default=access.REQUIRED,
        help="required is a new machine; off is one with the settings of an older release",
    )
    asked = arguments.parse_args()
    with ExitStack() as stack:
        try:
            install_programs()
            hide_mounts()
            machine = stack.enter_context(Machine(asked.suite))
        except CannotBoot as reason:
            print(f"skipped: {reason}")
            sys.exit(os.environ.get("CI") == "true")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        box = Box(machine, directory / "acknowledged")
        box.acknowledged.touch()
        _bring_releases(box, directory)
        _installed(box, asked.auth)
        for chapter in asked.only:
            CHAPTERS[chapter](box)
    for wrong in box.wrong:
        print(f"WRONG: {wrong}")
    print("everything was as expected" if not box.wrong else f"{len(box.wrong)} faults")
    sys.exit(bool(box.wrong))


def _bring_releases(box: Box, directory: Path) -> None:
    first = variants.copy(directory, "1.0")
    second = variants.with_migration(variants.copy(directory, "2.0"))
    variants.with_changed_comments(second)
    made = [
        first,
        variants.copy(directory, "1.1"),
        variants.without_relay(variants.copy(directory, "1.2")),
        second,
        variants.that_does_not_import(variants.copy(directory, "3.0")),
        variants.whose_workers_die(variants.with_migration(variants.copy(directory, "4.0"))),
        variants.that_is_never_ready(variants.with_migration(variants.copy(directory, "5.0"))),
    ]
    needed = variants.with_migration(variants.copy(directory, "6.0"))
    made.append(variants.with_migration(needed, old_code_works=False))
    for release in made:
        box.machine.copy(release, f"/root/{release.name}")


def _installed(box: Box, auth: str) -> None:
    box.run("apt-get -qq update")
    packages = "python3-venv nginx curl sqlite3"
    box.run(f"apt-get -qq install --yes --no-install-recommends --download-only {packages}")
    if auth == access.OFF:
        access.with_settings_of_an_older_release(box)
    started_at = time.monotonic()
    with access.watched(box):
        said = box.install("1.0")
    installed_s = time.monotonic() - started_at
    access.settle(box, said, auth)
    started_at = time.monotonic()
    verified = box.verify()
    took_s = installed_s + time.monotonic() - started_at
    version = box.run("systemctl --version | head -n 1; python3 -V").replace("\n", ", ")
    print(f"{version}\nnew machine to first verified order: {took_s:.0f} s; {verified}")
    box.expect(f"the installation took {took_s:.0f} s", holds=took_s < INSTALLATION_MAX_S)
    box.machine.cut_power()
    box.use_again()
    box.prove("a power cut right after the installation")
    box.run("chmod o+r /etc/orderapi/orderapi.env")
    box.install("1.0")
    mode = box.run("stat --format=%a /etc/orderapi/orderapi.env")
    box.expect(f"the settings have the mode {mode}", holds=mode == "640")
    exposure = box.run("systemd-analyze security --no-pager orderapi.service | tail -n 1")
    score = float(re.findall(r"\d+\.\d", exposure)[0])
    at_rest_mib = _memory_kib(box) / 1024
    print(f"exposure {score}; memory without load {at_rest_mib:.0f} MiB, with nginx")
    box.expect(f"the exposure is {score}", holds=score <= EXPOSURE_MAX)
    box.expect(f"memory without load is {at_rest_mib:.0f} MiB", holds=at_rest_mib < AT_REST_MAX_MIB)


def _memory_kib(box: Box) -> int:
    cgroups = "/sys/fs/cgroup/system.slice/{orderapi,nginx}.service/cgroup.procs"
    files = "sed 's#.*#/proc/&/smaps_rollup#'"
    return int(
        box.run(f"cat {cgroups} | {files} | xargs awk '/^Pss:/ {{ n += $2 }} END {{ print n }}'")
    )


def _operated(box: Box) -> None:
    main_pid = "systemctl show --property=MainPID --value orderapi"
    deeds = {
        "systemctl restart": "systemctl restart orderapi",
        "systemctl reload": "systemctl reload orderapi",
        "nginx reload": "systemctl reload nginx",
        "kill -9 of a worker": f"kill -9 $(pgrep --parent $({main_pid}) | head -n 1)",
        "kill -9 of the master": f"kill -9 $({main_pid})",
        "kill -9 of all": "systemctl kill --signal=KILL orderapi",
    }
    print(f"\n{'operation under load, five times each':44} {'requests':>9} {'failed':>7}")
    for what, command in deeds.items():
        with box.under_load(what):
            for _ in range(5):
                box.run(command)
                box.wait_until_serving()
                time.sleep(1)
    box.prove("these operations")


def _replaced(box: Box) -> None:
    print(f"\n{'operation under load, once':44} {'requests':>9} {'failed':>7}")
    with box.under_load("upgrade, with a migration"):
        box.install("2.0", "--upgrade")
    with box.under_load("upgrade to code that does not import"):
        box.install("3.0", "--upgrade", fails_with="nothing was changed")
    with box.under_load("upgrade to workers that die, rolled back"):
        box.install("4.0", "--upgrade", fails_with=r"2\.0-\w+ serves as before")
    with box.under_load("upgrade that is never ready, rolled back"):
        box.install("5.0", "--upgrade", fails_with=r"2\.0-\w+ serves as before")
    with box.under_load("rollback"):
        box.install("2.0", "--rollback")
    _expect_release(box, "1.0")
    with box.under_load("rollback of the rollback"):
        box.install("2.0", "--rollback")
    _expect_release(box, "2.0")
    with box.under_load("backup"):
        box.run("systemctl start orderapi-backup")
    with box.under_load("upgrade, with an irreversible migration"):
        box.install("6.0", "--upgrade")
    with box.under_load("rollback that cannot run, refused"):
        box.install("6.0", "--rollback", fails_with="nothing was changed, because .* schema")
    _expect_release(box, "6.0")
    box.prove("these operations")


def _expect_release(box: Box, version: str) -> None:
    current = Path(box.run("readlink -e /opt/orderapi/current")).name
    box.expect(
        f"the release is {current} instead of {version}", holds=current.startswith(f"{version}-")
    )


def _without_power(box: Box) -> None:
    print(f"\n{'operation under load, with failed requests':44} {'requests':>9} {'failed':>7}")
    for number in range(1, 6):
        with box.under_load(f"power cut {number}", may_fail=True):
            box.machine.cut_power()
        box.prove(f"power cut {number}")
    for number in range(1, 3):
        with box.under_load(f"reboot {number}", may_fail=True):
            box.machine.reboot()
        box.prove(f"reboot {number}")


def _restored(box: Box) -> None:
    box.run("systemctl start orderapi-backup")
    box.verify()
    orders = f'sqlite3 {DATABASE} "SELECT COUNT(*) FROM orders"'
    with_later = int(box.run(orders))
    refused = box.machine.run("orderapi restore /var/lib/orderapi/backups/latest.db", check=False)
    box.expect("a restore was possible while serving", holds=refused.returncode != 0)
    box.run("systemctl stop orderapi.socket orderapi.service")
    said = box.run("orderapi restore --force /var/lib/orderapi/backups/latest.db")
    box.run("systemctl start orderapi.socket orderapi.service; orderapi audit")
    lost = with_later - int(box.run(orders))
    print(f"\nrestore: {said}")
    box.expect(f"the restore lost {lost} orders instead of 2", holds=lost == 2)


def _removed(box: Box) -> None:
    box.install("1.0", "--uninstall")
    box.run(f"test -s {DATABASE} && test -s {ENV_FILE}")
    # Some machines have a volume of its own for the data, which is a mount point.
    data = Path(DATABASE).parent
    box.run(f"mount --bind {data} {data}")
    box.install("1.0", "--uninstall --purge-data")
    box.run(f"umount {data}; rmdir {data}; ! id orderapi")
    # Nothing is left to remove, and another site of nginx is broken.
    box.run("echo broken > /etc/nginx/sites-enabled/broken")
    box.install("1.0", "--uninstall --purge-data")
    box.run("rm /etc/nginx/sites-enabled/broken")
    places = "/dev/shm /etc /opt /run /tmp /usr /var"
    left = box.run(f"find {places} -xdev -name '*orderapi*' -not -path '/var/log/*'")
    print(f"\nuninstall --purge-data leaves: {left or 'nothing'}")
    box.expect(f"left behind: {left}", holds=not left)


CHAPTERS: dict[str, Callable[[Box], None]] = {
    "access": access.run,
    "operate": _operated,
    "console": consoled.run,
    "relay": relayed.run,
    "replace": _replaced,
    "power": _without_power,
    "restore": _restored,
    "refuse": refused.run,
    "move": moved.run,
    "hosts": hosted.run,
    "remove": _removed,
}

if __name__ == "__main__":
    main()
