"""A box from its first minute to its last, under load: `python -m tests.deploy.drill`.

Prints a row per thing that was done to it, with the requests and how many failed; exits 1 if one
failed that must not, or an acknowledged order is missing.
"""

import argparse
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from tests.deploy.drill import relayed, variants
from tests.deploy.drill.base_tree import CannotBoot, default_suite, install_programs
from tests.deploy.drill.box import DATABASE, Box
from tests.deploy.drill.machine import Machine, hide_mounts

INSTALLED_WITHIN_S = 120.0
AT_REST_MOST_MIB = 150
EXPOSURE_MOST = 0.5


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    arguments.add_argument("--suite", default=default_suite(), help="trixie, bookworm, noble ...")
    arguments.add_argument("--only", nargs="*", choices=CHAPTERS, default=list(CHAPTERS))
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
        _installed(box)
        for chapter in asked.only:
            CHAPTERS[chapter](box)
    for wrong in box.wrong:
        print(f"WRONG: {wrong}")
    print("all held" if not box.wrong else f"{len(box.wrong)} did not hold")
    sys.exit(bool(box.wrong))


def _bring_releases(box: Box, directory: Path) -> None:
    first = variants.copy(directory, "1.0")
    second = variants.with_migration(variants.copy(directory, "2.0"))
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


def _installed(box: Box) -> None:
    box.run("apt-get -qq update")
    packages = "python3-venv nginx curl sqlite3"
    box.run(f"apt-get -qq install --yes --no-install-recommends --download-only {packages}")
    started_at = time.monotonic()
    box.install("1.0")
    verified = box.run("orderapi verify | tail -n 1")
    took_s = time.monotonic() - started_at
    version = box.run("systemctl --version | head -n 1; python3 -V").replace("\n", ", ")
    print(f"{version}\nfresh box to first verified order: {took_s:.0f} s; {verified}")
    box.expect(f"installing took {took_s:.0f} s", holds=took_s < INSTALLED_WITHIN_S)
    box.machine.cut_power()
    box.prove("a power cut right after that")
    box.install("1.0")
    exposure = box.run("systemd-analyze security --no-pager orderapi.service | tail -n 1")
    score = float(re.findall(r"\d+\.\d", exposure)[0])
    at_rest_mib = _memory_kib(box) / 1024
    print(f"exposure {score}; at rest {at_rest_mib:.0f} MiB, nginx included")
    box.expect(f"exposure {score}", holds=score <= EXPOSURE_MOST)
    box.expect(f"{at_rest_mib:.0f} MiB at rest", holds=at_rest_mib < AT_REST_MOST_MIB)


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
    print(f"\n{'done under load, five times each':44} {'requests':>9} {'failed':>7}")
    for what, command in deeds.items():
        with box.under_load(what):
            for _ in range(5):
                box.run(command)
                box.wait_until_serving()
                time.sleep(1)
    box.prove("these")


def _replaced(box: Box) -> None:
    print(f"\n{'done under load, once':44} {'requests':>9} {'failed':>7}")
    with box.under_load("upgrade, with a migration"):
        box.install("2.0", "--upgrade")
    with box.under_load("upgrade to what does not import"):
        box.install("3.0", "--upgrade", fails_with="nothing was changed")
    with box.under_load("upgrade to what dies, rolled back by itself"):
        box.install("4.0", "--upgrade", fails_with=r"2\.0-\w+ serves as before")
    with box.under_load("upgrade to what is not ready, rolled back"):
        box.install("5.0", "--upgrade", fails_with=r"2\.0-\w+ serves as before")
    with box.under_load("rollback"):
        box.install("2.0", "--rollback")
    _expect_release(box, "1.0")
    with box.under_load("rollback of the rollback"):
        box.install("2.0", "--rollback")
    _expect_release(box, "2.0")
    with box.under_load("backup"):
        box.run("systemctl start orderapi-backup")
    with box.under_load("upgrade, with a migration of no return"):
        box.install("6.0", "--upgrade")
    with box.under_load("rollback that does not fit, refused"):
        box.install("6.0", "--rollback", fails_with="nothing was changed; .* schema")
    _expect_release(box, "6.0")
    box.prove("these")


def _expect_release(box: Box, version: str) -> None:
    current = Path(box.run("readlink -e /opt/orderapi/current")).name
    box.expect(f"{current} instead of {version}", holds=current.startswith(f"{version}-"))


def _without_power(box: Box) -> None:
    print(f"\n{'done under load; meanwhile requests fail':44} {'requests':>9} {'failed':>7}")
    for number in range(1, 6):
        with box.under_load(f"power cut {number}", may_fail=True):
            box.machine.cut_power()
        box.prove(f"power cut {number}")
    for number in range(1, 3):
        with box.under_load(f"reboot {number}", may_fail=True):
            box.machine.reboot()
        box.prove(f"reboot {number}")


def _restored(box: Box) -> None:
    box.run("systemctl start orderapi-backup; orderapi verify")
    orders = f'sqlite3 {DATABASE} "SELECT COUNT(*) FROM orders"'
    with_later = int(box.run(orders))
    refused = box.machine.run("orderapi restore /var/lib/orderapi/backups/latest.db", check=False)
    box.expect("restored while serving", holds=refused.returncode != 0)
    box.run("systemctl stop orderapi.socket orderapi.service")
    said = box.run("orderapi restore --force /var/lib/orderapi/backups/latest.db")
    box.run("systemctl start orderapi.socket orderapi.service; orderapi audit")
    lost = with_later - int(box.run(orders))
    print(f"\nrestore: {said}")
    box.expect(f"the restore took {lost} orders back, not 2", holds=lost == 2)


def _misled(box: Box) -> None:
    """What the journal says, in one line, when a start is refused."""
    env_file = "/etc/orderapi/orderapi.env"
    newer = "INSERT INTO schema_migrations VALUES (99, 99)"
    full = "fallocate -l 100T /var/lib/fill || dd if=/dev/zero of=/var/lib/fill bs=1M status=none"
    cases = {
        "a bad setting": (
            f"echo ORDERAPI_WORKERS=many >> {env_file}",
            f"sed -i '$d' {env_file}",
            "cannot start: ORDERAPI_WORKERS: expected an integer from 1 to 64, not 'many'",
        ),
        "a newer database": (
            f'sqlite3 {DATABASE} "{newer}"',
            f'sqlite3 {DATABASE} "DELETE FROM schema_migrations WHERE number = 99"',
            "cannot start: ORDERAPI_DATABASE_URL: the database has schema 99,"
            " which needs a release that knows schema 99",
        ),
        "a full disk": (
            full,
            "rm /var/lib/fill",
            "cannot start: ORDERAPI_DATABASE_URL: cannot use .*: SQLITE_(FULL|IOERR)",
        ),
    }
    print()
    for what, (spoil, mend, expected) in cases.items():
        since = box.run("date +@%s.%N")
        box.machine.run(f"{spoil}; systemctl restart orderapi", check=False)
        journal = f"journalctl --unit=orderapi --output=cat --since={since}"
        first = f"until {journal} | grep --max-count=1 CRITICAL; do sleep 0.2; done"
        message = json.loads(box.run(f"timeout 60 bash -c '{first}'"))["message"]
        box.run(mend)
        print(f"{what}: {message}")
        box.expect(f"{what}: {message}", holds=re.match(expected, message) is not None)
        box.wait_until_serving()
    _taken_port(box)


def _taken_port(box: Box) -> None:
    """With this release nginx would not start again."""
    metrics = "/root/1.1/deploy/nginx/orderapi/metrics.conf"
    box.run("systemd-run --quiet --unit=other python3 -m http.server --bind 127.0.0.1 9109")
    box.run(f"curl -sf --retry 20 --retry-all-errors 127.0.0.1:9109; sed -i s/9108/9109/ {metrics}")
    refused = "nothing was changed; port 9109 of 127.0.0.1, for the metrics, is taken"
    box.install("1.1", "--upgrade", fails_with=refused)
    box.run(f"systemctl stop other; sed -i s/9109/9108/ {metrics}")
    box.wait_until_serving()


def _removed(box: Box) -> None:
    box.install("1.0", "--uninstall")
    box.run(f"test -s {DATABASE} && test -s /etc/orderapi/orderapi.env")
    # As a volume of its own has it.
    data = Path(DATABASE).parent
    box.run(f"mount --bind {data} {data}")
    box.install("1.0", "--uninstall --purge-data")
    box.run(f"umount {data}; rmdir {data}; ! id orderapi")
    left = box.run("find /etc /opt /run /usr /var -xdev -name '*orderapi*' -not -path '/var/log/*'")
    print(f"\nuninstall --purge-data leaves: {left or 'nothing'}")
    box.expect(f"left behind: {left}", holds=not left)


CHAPTERS: dict[str, Callable[[Box], None]] = {
    "operate": _operated,
    "relay": relayed.tell,
    "replace": _replaced,
    "power": _without_power,
    "restore": _restored,
    "mislead": _misled,
    "remove": _removed,
}

if __name__ == "__main__":
    main()
