"""The comparison on PostgreSQL: every contender in turn, setup by setup and round by round."""

import sys
from pathlib import Path

from tests.bench.compare import Plan
from tests.bench.load import Load
from tests.bench.postgres import measuring, over_http
from tests.bench.postgres.contenders import NAMES
from tests.bench.postgres.servers import Cluster, clusters
from tests.bench.postgres.tables import ROUND_TRIP_MS, SETUPS, Round, render


def run(plan: Plan, load: Load, work: Path) -> None:
    """Measure all setups of all rounds, and print the tables.

    Raises WindowInvalid if a contender did not do its work, and NotServing if the service does not
    start.
    """
    rounds = []
    # The way to the standby and back takes as long as that to the primary.
    with clusters(work, ROUND_TRIP_MS / 2 / 1000) as (alone, replicated):
        for number in range(plan.rounds):
            print(f"round {number + 1} of {plan.rounds}", file=sys.stderr)
            rounds.append(_round(number, plan, load, work, alone, replicated))
    print(render(rounds), flush=True)


def _round(
    number: int, plan: Plan, load: Load, work: Path, alone: Cluster, replicated: Cluster
) -> Round:
    measured = Round({}, {})
    # The order alternates, because a disk that fills makes the later windows slower.
    step = 1 if number % 2 == 0 else -1
    for setup in SETUPS:
        cluster = replicated if setup.is_synchronous else alone
        for contender in list(NAMES)[::step]:
            print(f"{setup.title}: {NAMES[contender]}", file=sys.stderr)
            window = measuring.measure(setup, contender, cluster, plan.warm_up_s, plan.window_s)
            measured.store[setup, contender] = window
    for engine in list(over_http.ENGINES)[::step]:
        measured.http[engine] = over_http.measure(engine, alone, plan, load, work)
    return measured
