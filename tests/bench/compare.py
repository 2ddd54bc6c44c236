"""The comparison: every contender in turn, stage by stage and round by round."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import BENCH, Contender
from tests.bench.load import Load
from tests.bench.report import Measured
from tests.bench.scenarios import SLOW_FSYNC_MS, Stage, stages
from tests.bench.service import Place, serving


@dataclass(frozen=True)
class Plan:
    """How much is measured: the number of rounds, and the seconds of each window and warm-up."""

    rounds: int
    window_s: float
    warm_up_s: float
    clients: Sequence[int]


class NoSlowedDisk(Exception):
    """The library for the slowed disk cannot be built. The message says why."""


def run(
    contenders: list[Contender], plan: Plan, load: Load, work: Path
) -> tuple[list[Measured], list[str]]:
    """Measure all stages of all rounds.

    Returns what was measured, and a sentence for each part that had to be left out. Raises
    WindowInvalid if a service did not do its work, and NotServing if one does not start.
    """
    absent = []
    slowed = None
    try:
        slowed = _slowed_disk(work)
    except NoSlowedDisk as error:
        absent.append(f"The slowed disk is left out: {error}.")
    measured = []
    for number in range(plan.rounds):
        # The order alternates, because a disk that fills and a processor that gets warm make the
        # later contenders of a stage slower.
        order = contenders if number % 2 == 0 else contenders[::-1]
        for stage in stages(plan.clients, with_slowed_disk=slowed is not None):
            place = slowed if slowed is not None and stage.disk == "slowed" else Place()
            for contender in order:
                measured += _run_stage(stage, contender, number, plan, load, place, work)
    return measured, absent


def _run_stage(
    stage: Stage,
    contender: Contender,
    number: int,
    plan: Plan,
    load: Load,
    place: Place,
    work: Path,
) -> list[Measured]:
    measured = []
    with (
        tempfile.TemporaryDirectory(dir=work) as name,
        serving(contender, Path(name), place) as service,
    ):
        for scenario in stage.scenarios:
            print(f"round {number + 1}, {scenario.title}: {contender.name}", file=sys.stderr)
            load.warm_up(scenario.work, service, scenario.clients, plan.warm_up_s)
            window = load.measure(scenario.work, service, scenario.clients, plan.window_s)
            measured.append(Measured(number, contender.id, scenario, window))
    return measured


def _slowed_disk(work: Path) -> Place:
    """Return a place where each fsync is slower.

    Raises NoSlowedDisk if the library for it cannot be built.
    """
    if shutil.which("gcc") is None:
        raise NoSlowedDisk("this machine has no gcc")
    library = work / "slow_fsync.so"
    source = BENCH / "slow_fsync.c"
    compile_it = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)]
    if subprocess.run(compile_it, check=False).returncode != 0:
        raise NoSlowedDisk("gcc failed")
    return Place(slow_fsync=library, fsync_ms=SLOW_FSYNC_MS)
