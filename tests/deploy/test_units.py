"""The shipped units, as systemd itself judges them; without one that runs."""

import subprocess
from pathlib import Path

import pytest

from tests.deploy.conftest import Program
from tests.running import REPOSITORY

UNITS = sorted((REPOSITORY / "deploy/systemd").iterdir())
SERVICES = [unit for unit in UNITS if unit.suffix == ".service"]
# In tenths, as --threshold takes it. The relay calls others, so it has a network.
EXPOSURE_MOST = {"orderapi.service": 5, "orderapi-backup.service": 5, "orderapi-relay.service": 15}


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


def complaints(done: subprocess.CompletedProcess[str]) -> list[str]:
    """Give the lines about our units; the machine's own may have lines too."""
    return [line for line in done.stderr.splitlines() if "orderapi" in line]
