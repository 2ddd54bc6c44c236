"""The tables of the comparison on PostgreSQL say what was reached."""

from dataclasses import replace

from tests.bench.load import Window
from tests.bench.postgres.contenders import NAMES, OURS, TRANSACTIONS
from tests.bench.postgres.measuring import StoreWindow
from tests.bench.postgres.over_http import ENGINES, HttpWindow
from tests.bench.postgres.tables import ONE_HOST, SETUPS, Round, render

QUIET = StoreWindow(
    per_s=1000.0, p50_ms=10.0, p99_ms=20.0, slowest_share=0.9, syncs_per_order=0.02,
    database_cpu_us=100.0, host_cpu_us=90.0, others_share=0.0,
)  # fmt: skip
OVER_HTTP = HttpWindow(
    Window(
        per_s=2000.0, p50_ms=30.0, p99_ms=60.0, max_ms=70.0, cpu_us=500.0, pss_mib=80.0,
        others_share=0.0,
    ),
    database_cpu_us=300.0,
)  # fmt: skip


def a_round(ours: float, transactions: float) -> Round:
    """A round in which all figures are the same, except for two rates of the first setup."""
    store = {(setup, contender): QUIET for setup in SETUPS for contender in NAMES}
    store[ONE_HOST, OURS] = replace(QUIET, per_s=ours)
    store[ONE_HOST, TRANSACTIONS] = replace(QUIET, per_s=transactions)
    return Round(store, dict.fromkeys(ENGINES, OVER_HTTP))


def row_of(printed: str, title: str) -> str:
    (row,) = (line for line in printed.splitlines() if line.startswith(f"| {title} |"))
    return row.removeprefix(f"| {title} | ")


TITLE = "orders per s, one host: orderapi / a transaction per request"


def test_an_aim_is_compared_with_the_median_of_the_ratios_of_each_round() -> None:
    # The ratio of the medians would be 3.
    rounds = [a_round(900.0, 150.0), a_round(3000.0, 500.0), a_round(1500.0, 1000.0)]
    assert row_of(render(rounds), TITLE) == "6.0 (1.5 to 6.0) | at least 5 | yes |"


def test_an_aim_that_is_missed_says_so() -> None:
    assert row_of(render([a_round(4900.0, 1000.0)]), TITLE) == "4.9 | at least 5 | no |"
    share = "p99 over HTTP on PostgreSQL, ms"
    assert row_of(render([a_round(4900.0, 1000.0)]), share) == "60 | at most 100 | yes |"


def test_a_run_that_other_processes_disturbed_says_so() -> None:
    disturbed = a_round(6000.0, 1000.0)
    assert "WARNING" not in render([disturbed])
    disturbed.store[ONE_HOST, OURS] = replace(QUIET, others_share=0.2)
    assert "In 1 of 11 windows, other processes used more than 10%" in render([disturbed])
