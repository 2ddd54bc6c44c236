"""`python -m tests.bench`: every contender in turn, round by round, and the tables on stdout."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.bench import chart, growth, machine, report
from tests.bench.contenders import (
    BENCH,
    Contender,
    Start,
    all_contenders,
    install_fastify,
    work_directory,
)
from tests.bench.load import Load, WindowInvalid
from tests.bench.report import MAIN_CLIENTS, Measured
from tests.bench.service import Place, serving

SLOW_FSYNC_MS = 1.0
_MEMORY_WORKERS = 4


@dataclass(frozen=True)
class Plan:
    """How much is measured: whole rounds of windows of so many seconds, after a warm-up each."""

    rounds: int
    seconds: float
    warm_up_s: float
    clients: Sequence[int]


def main() -> int:
    """Measure what the command line asks for and print it."""
    options = _parse()
    plan = _plan(options)
    missing = [tool for tool in ("wrk", "taskset") if shutil.which(tool) is None]
    cores = sorted(os.sched_getaffinity(0))
    if missing or len(cores) < 2:
        print(f"Not measured: needs {' and '.join(missing) or 'a second core for the load'}.")
        return 1
    place = Place(cores=frozenset(cores[1:]))
    work = work_directory()
    contenders, absent = _present(options.contenders, work)
    with tempfile.TemporaryDirectory(dir=work) as name:
        directory = Path(name)
        load = Load(cores[0], directory)
        print(machine.describe(work, cores), flush=True)
        try:
            if options.growth:
                growth.run(plan.rounds, plan.seconds, options.growth, load, place, work)
            else:
                _compare(contenders, absent, plan, load, place, work, options.svg)
        except WindowInvalid as error:
            print(f"\nThis run is worth nothing: {error}", file=sys.stderr)
            return 1
    return 0


def _compare(
    contenders: list[Contender],
    absent: list[str],
    plan: Plan,
    load: Load,
    place: Place,
    work: Path,
    svg: Path | None,
) -> None:
    slow = _slow_disk(place, work)
    if isinstance(slow, str):
        absent.append(f"The slowed disk is left out: {slow}.")
    measured: list[Measured] = []
    for number in range(plan.rounds):
        # Whatever drifts, a disk that fills or a processor that warms up, drifts for all.
        order = contenders if number % 2 == 0 else contenders[::-1]
        for clients in plan.clients:
            for contender in order:
                measured += _on_fresh_database(contender, number, clients, plan, load, place, work)
        if isinstance(slow, Place):
            for contender in order:
                measured += _on_fresh_database(
                    contender, number, MAIN_CLIENTS, plan, load, slow, work
                )
    measured += _memory_with_four_workers(contenders, plan, load, place, work)
    print(report.render(contenders, measured, absent, plan.seconds, SLOW_FSYNC_MS), flush=True)
    if svg is not None:
        svg.write_text(chart.render(contenders, measured))


def _on_fresh_database(
    contender: Contender,
    number: int,
    clients: int,
    plan: Plan,
    load: Load,
    place: Place,
    work: Path,
) -> list[Measured]:
    disk = "slowed" if place.slow_fsync else "as it is"
    with (
        tempfile.TemporaryDirectory(dir=work) as name,
        serving(contender, Path(name), place) as service,
    ):
        print(f"round {number + 1}, {disk}, {clients}: {contender.name}", file=sys.stderr)
        load.new_orders(service, clients, plan.warm_up_s)
        window = load.new_orders(service, clients, plan.seconds)
        measured = [Measured(number, contender.letter, disk, "orders", clients, window)]
        if clients == MAIN_CLIENTS and not place.slow_fsync:
            for work_kind, act in (("replays", load.replays), ("reads", load.reads)):
                act(service, clients, plan.warm_up_s)
                window = act(service, clients, plan.seconds)
                measured.append(
                    Measured(number, contender.letter, disk, work_kind, clients, window)
                )
    return measured


def _memory_with_four_workers(
    contenders: list[Contender], plan: Plan, load: Load, place: Place, work: Path
) -> list[Measured]:
    """Measure this service with as many workers as the tuned FastAPI has, for their memory."""
    found = []
    for contender in contenders:
        if contender.letter != "e":
            continue
        usual = contender.start

        def with_four(database: Path, port: int) -> Start:
            start = usual(database, port)  # noqa: B023 - called before the loop goes on
            workers = {"ORDERAPI_WORKERS": str(_MEMORY_WORKERS)}
            return replace(start, environ=start.environ | workers)

        four = replace(
            contender, letter="e4", name=f"{contender.name}, four workers", start=with_four
        )
        found += _on_fresh_database(four, 0, MAIN_CLIENTS, plan, load, place, work)
    return found


def _present(wanted: str, work: Path) -> tuple[list[Contender], list[str]]:
    present, absent = [], []
    for contender in all_contenders():
        if contender.letter not in wanted:
            continue
        reason = install_fastify(work / "fastify") if contender.letter == "c" else None
        if reason is None:
            present.append(contender)
        else:
            absent.append(f"{contender.name} is left out: {reason}.")
    return present, absent


def _slow_disk(place: Place, work: Path) -> Place | str:
    """Give the same place with a slower fsync, or say why there is none."""
    if shutil.which("gcc") is None:
        return "gcc is not installed"
    library = work / "slow_fsync.so"
    source = BENCH / "slow_fsync.c"
    compile_it = ["gcc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(library), str(source)]
    if subprocess.run(compile_it, check=False).returncode != 0:
        return "gcc failed"
    return replace(place, slow_fsync=library, fsync_ms=SLOW_FSYNC_MS)


def _plan(options: argparse.Namespace) -> Plan:
    clients = [int(number) for number in options.clients.split(",")]
    if options.quick:
        return Plan(1, 2.0, 1.0, clients)
    return Plan(options.rounds, options.seconds, 2.0, clients)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each window; default: 8")
    parser.add_argument("--contenders", default="abcde", help="by letter; default: abcde")
    parser.add_argument("--clients", default="1,16,64,256", help="default: 1,16,64,256")
    parser.add_argument("--quick", action="store_true", help="one round of windows of 2 s")
    parser.add_argument("--growth", type=int, metavar="N", help="instead: with N orders stored")
    parser.add_argument("--svg", type=Path, help="where to write the chart")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
