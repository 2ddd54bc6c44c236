"""The tables of `make bench` show what was measured, and say what makes a run unreliable."""

from dataclasses import replace

from tests.bench.contenders import OURS, Contender, Start
from tests.bench.load import Window
from tests.bench.profile import parse
from tests.bench.report import Measured, render
from tests.bench.scenarios import Scenario, stages

QUIET = Window(
    per_s=1000.0, p50_ms=50.0, p99_ms=100.0, max_ms=120.0, cpu_us=300.0, pss_mib=80.0,
    others_share=0.01,
)  # fmt: skip
ORDERS = Scenario("orders", 64)


def contender(identifier: str, name: str) -> Contender:
    return Contender(identifier, name, lambda _database, _port: Start([]))


WE = contender(OURS, "orderapi")
OTHER = contender("other", "the other")


def test_a_row_shows_the_median_of_the_rounds() -> None:
    rates = (900.0, 5000.0, 1100.0)
    measured = [
        Measured(number, OURS, ORDERS, replace(QUIET, per_s=rate))
        for number, rate in enumerate(rates)
    ]
    printed = render([WE], measured, [], 5.0)
    assert "**New orders, 64 clients**" in printed
    assert "| orderapi | 1,100 | 50 | 100 | 120 | 300 | 80 |" in printed


def test_a_ratio_compares_windows_of_the_same_round() -> None:
    # The machine is slow in the second round, and the order of the contenders differs there.
    measured = [
        Measured(0, OURS, ORDERS, replace(QUIET, per_s=1000.0)),
        Measured(0, "other", ORDERS, replace(QUIET, per_s=1000.0)),
        Measured(1, "other", ORDERS, replace(QUIET, per_s=100.0)),
        Measured(1, OURS, ORDERS, replace(QUIET, per_s=300.0)),
        Measured(2, OURS, ORDERS, replace(QUIET, per_s=4000.0)),
        Measured(2, "other", ORDERS, replace(QUIET, per_s=2000.0)),
    ]
    printed = render([OTHER, WE], measured, [], 5.0)
    # The ratio of the medians would be 1.00.
    assert "| new orders, 64 clients | 2.00 (1.00 to 3.00) |" in printed
    assert "| new orders, 64 clients | 1.00 (1.00 to 1.00) |" in printed


def test_without_another_contender_there_are_no_ratios() -> None:
    printed = render([WE], [Measured(0, OURS, ORDERS, QUIET)], [], 5.0)
    assert "orderapi / the other" not in printed


def test_a_quiet_run_has_no_warning() -> None:
    assert "WARNING" not in render([WE], [Measured(0, OURS, ORDERS, QUIET)], [], 5.0)


def test_a_run_that_other_processes_disturbed_says_so() -> None:
    measured = [
        Measured(0, OURS, ORDERS, QUIET),
        Measured(1, OURS, ORDERS, replace(QUIET, others_share=0.2)),
    ]
    assert "In 1 of 2 windows, other processes used more than 10%" in render(
        [WE], measured, [], 5.0
    )


def test_a_window_that_is_too_short_for_its_p99_is_named() -> None:
    measured = [Measured(0, OURS, ORDERS, replace(QUIET, p99_ms=600.0))]
    assert "which was 0.6 s (new orders, 64 clients)" in render([WE], measured, [], 5.0)


def test_a_part_that_is_left_out_is_named() -> None:
    printed = render([WE], [Measured(0, OURS, ORDERS, QUIET)], ["Fastify is left out."], 5.0)
    assert "Fastify is left out." in printed


def test_replays_and_reads_follow_the_orders_that_they_need() -> None:
    (first, second, slowed) = stages([1, 64], with_slowed_disk=True)
    assert [scenario.work for scenario in first.scenarios] == ["orders"]
    assert [scenario.work for scenario in second.scenarios] == ["orders", "replays", "reads"]
    assert slowed.scenarios == (Scenario("orders", 64, "slowed"),)


def test_a_profile_counts_a_recursive_function_once_for_each_sample() -> None:
    samples = parse(
        'process 1:"gunicorn";outer (app.py:1);inner (lib.py:2);inner (lib.py:2) 3\n'
        'process 1:"gunicorn";outer (app.py:1) 2\n'
    )
    assert samples.number == 5
    assert samples.own_by_file == {"lib.py": 3, "app.py": 2}
    assert samples.own == {"inner (lib.py:2)": 3, "outer (app.py:1)": 2}
    assert samples.total == {"outer (app.py:1)": 5, "inner (lib.py:2)": 3}
