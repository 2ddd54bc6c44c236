"""How fast waiting readers are answered: the policy alone, without threads and without a clock."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.events import pacing


def groups(readers: int, waiting_orders: int) -> list[int]:
    """Return the sizes of a round's groups while the number of waiting orders stays the same."""
    pace, sizes = pacing.Round(readers), []
    while readers > 0:
        sizes.append(min(pace.group, readers))
        readers -= pace.group
        pace.adapt(waiting_orders)
    return sizes


def test_groups_grow_one_by_one_while_no_order_waits() -> None:
    assert groups(50, 0) == [1, 2, 3, 4, 5, 6, 7, 8, 8, 6]


def test_groups_shrink_by_half_while_orders_wait() -> None:
    pace = pacing.Round(100)
    for _ in range(10):
        pace.adapt(0)
    sizes = []
    for _ in range(5):
        sizes.append(pace.group)
        pace.adapt(1)
    assert sizes == [8, 4, 2, 1, 1]


@given(st.integers(1, 100_000), st.lists(st.integers(0, 1000), max_size=600))
def test_a_round_ends_however_many_orders_wait(readers: int, waiting: list[int]) -> None:
    pace, answered, pauses = pacing.Round(readers), 0, 0
    while answered < readers:
        assert pace.group >= 1
        answered += pace.group
        pace.adapt(waiting[pauses] if pauses < len(waiting) else 1)
        pauses += 1
    assert pauses <= pacing.ROUND_MAX_PAUSES


def test_a_round_without_readers_has_no_group() -> None:
    assert groups(0, 0) == []


@pytest.mark.parametrize(
    ("waiting_orders", "expected_s"), [(0, 0.001), (1, 0.002), (6, 0.007), (7, 0.008), (900, 0.008)]
)
def test_a_pause_is_longer_while_orders_wait(waiting_orders: int, expected_s: float) -> None:
    assert pacing.pause_s(waiting_orders) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    ("round_s", "expected_s"), [(0.0, 0.02), (0.02, 0.02), (0.1, 0.1), (0.25, 0.25), (4.0, 0.25)]
)
def test_a_rest_is_as_long_as_its_round(round_s: float, expected_s: float) -> None:
    assert pacing.rest_s(round_s, 0.02) == expected_s


def test_readers_are_not_released_early_while_the_process_does_not_stop() -> None:
    assert pacing.Stop().cutoff(is_stopping=False, now=1e9) == -math.inf


def test_a_stop_answers_the_readers_that_wait_already_and_later_ones_after_a_delay() -> None:
    stop = pacing.Stop()
    assert stop.cutoff(is_stopping=False, now=5.0) == -math.inf
    assert stop.cutoff(is_stopping=True, now=10.0) == 10.0
    almost = 10.0 + pacing.STOP_DELAY_S * 0.9
    assert stop.cutoff(is_stopping=True, now=almost) == 10.0
    later = 10.0 + pacing.STOP_DELAY_S
    assert stop.cutoff(is_stopping=True, now=later) == math.inf
