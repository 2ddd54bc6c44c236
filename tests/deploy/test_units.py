"""The shipped units, as systemd itself judges them; without one that runs."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.support.programs import Program
from tests.support.running import REPOSITORY

UNITS = sorted((REPOSITORY / "deploy/systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
# What a unit that must reach any address has, and no other may.
NETWORK = {"PrivateNetwork", "RestrictAddressFamilies_AF_INET_INET6", "IPAddressDeny"}
# In tenths, as --threshold takes it; the network makes 7 of the relay's.
EXPOSURE_MOST = {"orderapi.service": 5, "orderapi-backup.service": 5, "orderapi-relay.service": 11}


def test_systemd_accepts_the_units(program: Program, tmp_path: Path) -> None:
    done = run(program, "verify", "--man=no", *staged(tmp_path))
    assert (done.returncode, complaints(done)) == (0, [])


def test_a_unit_that_is_wrong_is_told_of(program: Program, tmp_path: Path) -> None:
    """The judge of the test above does judge."""
    units = staged(tmp_path)
    with Path(units[0]).open("a") as unit:
        unit.write("[Service]\nKillMode=control-gruop\n")
    assert complaints(run(program, "verify", "--man=no", *units))


@pytest.mark.parametrize("unit", SERVICES, ids=[unit.name for unit in SERVICES])
def test_little_is_exposed(program: Program, unit: Path) -> None:
    threshold = f"--threshold={EXPOSURE_MOST[unit.name]}"
    done = run(program, "security", "--offline=yes", threshold, "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout.splitlines()[-1]


def test_the_relay_is_exposed_to_the_network_and_otherwise_as_the_service_is(
    program: Program,
) -> None:
    service, relay = (exposures(program, name) for name in ("orderapi", "orderapi-relay"))
    assert relay - service == NETWORK


def test_the_relay_reaches_no_metadata_service() -> None:
    """It answers with the machine's credentials, at 169.254.169.254 and at fd00:ec2::254."""
    text = (REPOSITORY / "deploy/systemd/orderapi-relay.service").read_text()
    (denied,) = (line for line in text.splitlines() if line.startswith("IPAddressDeny="))
    assert {"link-local", "fd00:ec2::254"} <= set(denied.partition("=")[2].split())
    assert "IPAddressAllow=" not in text  # it would come first


def staged(directory: Path) -> list[str]:
    """Copy the units with what they start in place: programs that are there."""
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
    """Name what adds to a service's exposure."""
    unit = str(REPOSITORY / f"deploy/systemd/{name}.service")
    judged = json.loads(run(program, "security", "--offline=yes", "--json=short", unit).stdout)
    return {item["json_field"] for item in judged if float(item["exposure"] or 0) > 0}


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Give the lines about our units; the machine's own may have lines too."""
    return [line for line in done.stderr.splitlines() if "orderapi" in line]
