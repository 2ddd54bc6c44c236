"""Measures how fast orderapi is beside other services that do the same work.

Each service stores the same orders in the same tables and answers after an fsync. They run one
after the other, on the same cores as the load generator. The tables are printed on stdout, and the
progress on stderr.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from tests.bench import (
    chart,
    compare,
    console,
    cost,
    growth,
    installation,
    machine,
    profile,
    report,
)
from tests.bench.compare import Plan
from tests.bench.contenders import all_contenders, work_directory
from tests.bench.load import Load, WindowInvalid
from tests.bench.postgres import comparison
from tests.bench.profile import NoProfiler
from tests.bench.service import NotServing

_CORES = 2
# What a shell reports after SIGINT.
_EXIT_INTERRUPTED = 130


def main() -> int:
    """Measure what the command line asks for, and print it. Returns the exit code."""
    options = _parse()
    # SIGTERM ends the run like Ctrl-C, so that no server is left behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    cores = sorted(os.sched_getaffinity(0))[: options.cores]
    if len(cores) < options.cores:
        print(f"The run needs {options.cores} cores, and there are {len(cores)}.", file=sys.stderr)
        return 1
    if shutil.which("wrk") is None:
        print("The run needs wrk. On Debian and Ubuntu: sudo apt install wrk", file=sys.stderr)
        return 1
    os.sched_setaffinity(0, cores)
    work = work_directory()
    try:
        with tempfile.TemporaryDirectory(dir=work) as name:
            _measure(options, cores, work, Load(Path(name)))
    except (NotServing, WindowInvalid, NoProfiler) as error:
        print(f"The run failed. {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("The run was interrupted.", file=sys.stderr)
        return _EXIT_INTERRUPTED
    return 0


def _measure(options: argparse.Namespace, cores: list[int], work: Path, load: Load) -> None:
    plan = _plan(options)
    if options.growth:
        print(machine.describe(work, cores), flush=True)
        growth.run(plan, options.growth, load, work)
    elif options.cost:
        print(machine.describe(work, cores), flush=True)
        cost.run(plan, load, work)
    elif options.console:
        print(machine.describe(work, cores), flush=True)
        console.run(plan, options.console, load, work)
    elif options.postgres:
        print(machine.describe(work, cores), flush=True)
        comparison.run(plan, load, work)
    elif options.profile:
        print(machine.describe(work, cores), flush=True)
        print(profile.run(options.profile, plan, load, work))
    else:
        contenders, absent = installation.install(options.contenders)
        if not contenders:
            raise NotServing("\n".join(absent))
        print(machine.describe(work, cores), flush=True)
        measured, left_out = compare.run(contenders, plan, load, work)
        print(report.render(contenders, measured, absent + left_out, plan.window_s))
        if options.svg is not None:
            options.svg.write_text(chart.render(contenders, measured))


def _plan(options: argparse.Namespace) -> Plan:
    if options.quick:
        return Plan(rounds=1, window_s=1.5, warm_up_s=0.5, clients=options.clients)
    return Plan(options.rounds, options.seconds, options.warm_up, options.clients)


def _parse() -> argparse.Namespace:
    ids = [contender.id for contender in all_contenders()]
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    add = parser.add_argument
    add(
        "--quick",
        action="store_true",
        help="measure one round of short windows, in about two minutes; its figures are rough",
    )
    add("--rounds", type=int, default=5, help="number of rounds (default: %(default)s)")
    add(
        "--seconds",
        type=float,
        default=5.0,
        help="length of each measured window, in seconds (default: %(default)s)",
    )
    add(
        "--warm-up",
        type=float,
        default=1.0,
        help="length of the load before each window, in seconds (default: %(default)s)",
    )
    add(
        "--contenders",
        type=_list_of(ids),
        default=ids,
        help=f"services to measure, separated by commas (default: {','.join(ids)})",
    )
    add(
        "--clients",
        type=lambda text: [int(number) for number in text.split(",")],
        default=[1, 64, 256],
        help="numbers of clients for new orders, separated by commas (default: 1,64,256)",
    )
    add(
        "--cores",
        type=int,
        default=_CORES,
        help="number of cores that servers and load generator share (default: %(default)s)",
    )
    add("--svg", type=Path, help="file into which a chart of new orders is written")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--growth",
        type=int,
        metavar="ORDERS",
        help="do not compare services: compare orderapi on an empty database with orderapi on a"
        " database that contains so many orders",
    )
    instead.add_argument(
        "--cost",
        action="store_true",
        help="do not compare services: compare orderapi with and without metrics and tokens",
    )
    instead.add_argument(
        "--console",
        type=int,
        metavar="ORDERS",
        help="do not compare services: show how long each page of the operator's console takes on a"
        " database that contains so many orders, and what it costs new orders",
    )
    instead.add_argument(
        "--postgres",
        action="store_true",
        help="do not compare services: compare ways to place orders in PostgreSQL, with a round"
        " trip of 1 ms, several hosts and a synchronous standby",
    )
    instead.add_argument(
        "--profile",
        choices=("orders", "replays", "reads"),
        help="do not compare services: show in which functions orderapi spends its time",
    )
    return parser.parse_args()


def _list_of(ids: list[str]) -> "argparse._ActionType":
    def parse(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in ids]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no contender {unknown[0]!r}")
        return chosen

    return parse


if __name__ == "__main__":
    sys.exit(main())
