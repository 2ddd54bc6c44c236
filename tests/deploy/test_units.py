"""systemd checks the shipped units. No test in this file needs a running systemd."""

import json
import re
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import Program
from tests.support.running import REPOSITORY

UNITS = sorted((REPOSITORY / "deploy/systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
# These settings add to the exposure of the relay, because it may reach any address.
NETWORK = {"PrivateNetwork", "RestrictAddressFamilies_AF_INET_INET6", "IPAddressDeny"}
# The maximum in tenths, as in --threshold. The network adds 7 tenths to the exposure of the relay.
EXPOSURE_MAX_TENTHS = {
    "orderapi.service": 5,
    "orderapi-backup.service": 5,
    "orderapi-relay.service": 11,
}


def test_systemd_accepts_the_units(program: Program, tmp_path: Path) -> None:
    done = run(program, "verify", "--man=no", *staged(tmp_path))
    assert (done.returncode, complaints(done)) == (0, [])


def test_systemd_reports_a_unit_that_is_wrong(program: Program, tmp_path: Path) -> None:
    """Without this test, the test above could pass because systemd checks nothing."""
    units = staged(tmp_path)
    with Path(units[0]).open("a") as unit:
        unit.write("[Service]\nKillMode=control-gruop\n")
    assert complaints(run(program, "verify", "--man=no", *units))


@pytest.mark.parametrize("unit", SERVICES, ids=[unit.name for unit in SERVICES])
def test_the_exposure_of_a_unit_stays_small(program: Program, unit: Path) -> None:
    threshold = f"--threshold={EXPOSURE_MAX_TENTHS[unit.name]}"
    done = run(program, "security", "--offline=yes", threshold, "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_relay_is_exposed_to_the_network_and_otherwise_as_the_service_is(
    program: Program,
) -> None:
    service, relay = (exposures(program, name) for name in ("orderapi", "orderapi-relay"))
    assert relay - service == NETWORK


@pytest.mark.parametrize("unit", SERVICES, ids=[unit.name for unit in SERVICES])
def test_a_unit_leaves_no_core_dump(unit: Path) -> None:
    """The memory of a process has tokens and secrets, and a core dump would be a file of it."""
    assert "LimitCORE=0" in unit.read_text().splitlines()


@pytest.mark.parametrize("script", ["orderapi.sh", "release.sh"])
def test_a_command_on_the_machine_leaves_no_core_dump_either(script: str) -> None:
    text = (REPOSITORY / "deploy" / script).read_text()
    runs = text.count("systemd-run --")
    assert runs > 0
    assert text.count("--property=LimitCORE=0") == runs


def test_the_service_counts_in_a_directory_that_systemd_removes() -> None:
    """In /dev/shm, another user could see when it starts, and a killed service leaves its files."""
    lines = (REPOSITORY / "deploy/systemd/orderapi.service").read_text().splitlines()
    assert {"RuntimeDirectory=orderapi", "RuntimeDirectoryMode=0700"} <= set(lines)
    # The socket must outlive the service, so it is not in this directory.
    socket_unit = (REPOSITORY / "deploy/systemd/orderapi.socket").read_text()
    assert "=/run/orderapi/" not in socket_unit


def test_only_nginx_can_open_the_socket_of_the_service() -> None:
    lines = (REPOSITORY / "deploy/systemd/orderapi.socket").read_text().splitlines()
    # www-data is the user of nginx on Debian and Ubuntu.
    assert {"SocketUser=www-data", "SocketGroup=www-data", "SocketMode=0600"} <= set(lines)
    assert [line for line in lines if line.startswith("Listen")] == [
        "ListenStream=/run/orderapi.sock"
    ]


def test_the_relay_reaches_no_metadata_service() -> None:
    """That service gives credentials away, at 169.254.169.254 and at fd00:ec2::254."""
    text = (REPOSITORY / "deploy/systemd/orderapi-relay.service").read_text()
    (denied,) = (line for line in text.splitlines() if line.startswith("IPAddressDeny="))
    assert {"link-local", "fd00:ec2::254"} <= set(denied.partition("=")[2].split())
    assert "IPAddressAllow=" not in text  # A rule of IPAddressAllow= would have priority.


@pytest.mark.parametrize(
    "earlier", ["nobody", "a process that has ended", "a process that listens"]
)
def test_the_socket_is_not_opened_where_another_process_listens(
    tmp_path: Path, earlier: str
) -> None:
    path = tmp_path / "orderapi.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        if earlier != "nobody":
            listener.bind(str(path))
            listener.listen()
        if earlier == "a process that has ended":
            listener.close()
        done = subprocess.run(
            ["/bin/sh", "-c", check_before_listening(path)], capture_output=True, text=True
        )
    if earlier == "a process that listens":
        assert done.returncode == 1
        assert done.stderr == f"another process listens at {path}: stop it first\n"
    else:
        assert (done.returncode, done.stderr) == (0, "")


def check_before_listening(path: Path) -> str:
    """Give what systemd runs before it opens the socket, for a socket at another path."""
    text = (REPOSITORY / "deploy/systemd/orderapi.socket").read_text().replace("\\\n", " ")
    script: str
    (script,) = re.findall(r"^ExecStartPre=/bin/sh -c '(.*)'$", text, re.MULTILINE)
    for shipped in ("/run/orderapi[.]sock", "/run/orderapi.sock"):
        assert shipped in script
        script = script.replace(shipped, str(path))
    return script.replace("$$", "$")


def staged(directory: Path) -> list[str]:
    """Copy the units, and let them start programs that exist on this machine."""
    release = directory / "release"
    for program in (".venv/bin/gunicorn", ".venv/bin/orderapi", "deploy/backup.sh"):
        (release / program).parent.mkdir(parents=True, exist_ok=True)
        (release / program).write_text("#!/bin/sh\n")
        (release / program).chmod(0o755)
    for unit in UNITS:
        text = unit.read_text().replace("/opt/orderapi/current", str(release))
        (directory / unit.name).write_text(text)
    return [str(directory / unit.name) for unit in UNITS]


def run(program: Program, *arguments: str) -> subprocess.CompletedProcess[str]:
    analyze = program("systemd-analyze", "systemd")
    return subprocess.run([analyze, *arguments], capture_output=True, text=True, timeout=60)


def exposures(program: Program, name: str) -> set[str]:
    """Give the names of the settings that add to a service's exposure."""
    unit = str(REPOSITORY / f"deploy/systemd/{name}.service")
    judged = json.loads(run(program, "security", "--offline=yes", "--json=short", unit).stdout)
    return {item["json_field"] for item in judged if float(item["exposure"] or 0) > 0}


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Give the lines about our units, without lines about units of this machine."""
    return [line for line in done.stderr.splitlines() if "orderapi" in line]
