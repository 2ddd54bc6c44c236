"""Order ids are UUIDs of version 7 (RFC 9562), and grow even if the clock is set back."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from orderapi import uuid7

CLOCK_MS = st.integers(min_value=0, max_value=2**48 - 2)
FULL_COUNTER = "018f0000-0000-7fff-bfff-ffffffffffff"


@given(CLOCK_MS)
def test_the_first_id_is_an_rfc_9562_version_7_uuid_of_its_time(now_ms: int) -> None:
    made = UUID(uuid7.after(None, now_ms))
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"
    assert made.int >> 80 == now_ms


@given(st.lists(CLOCK_MS, min_size=2, max_size=50))
def test_ids_grow_as_text_whatever_the_clock_does(clock_ms: list[int]) -> None:
    made = [previous := uuid7.after(None, clock_ms[0])]
    for now_ms in clock_ms[1:]:
        previous = uuid7.after(previous, now_ms)
        made.append(previous)
    assert made == sorted(set(made))
    for text in made:
        assert text == str(UUID(text)) == text.lower()
        assert UUID(text).version == 7
        assert UUID(text).variant == "specified in RFC 4122"


@given(CLOCK_MS, st.integers(min_value=1, max_value=10_000))
def test_an_id_never_lags_behind_the_clock(earlier_ms: int, later_by_ms: int) -> None:
    now_ms = min(earlier_ms + later_by_ms, 2**48 - 1)
    made = uuid7.after(uuid7.after(None, earlier_ms), now_ms)
    assert UUID(made).int >> 80 == now_ms


@given(st.integers(min_value=0, max_value=0x018F_0000_0000))
def test_after_a_full_counter_the_next_id_is_of_the_next_millisecond(now_ms: int) -> None:
    made = uuid7.after(FULL_COUNTER, now_ms)
    assert made > FULL_COUNTER
    assert UUID(made).int >> 80 == (UUID(FULL_COUNTER).int >> 80) + 1
    assert UUID(made).version == 7


def test_an_id_cannot_be_guessed_from_another_id_of_its_millisecond() -> None:
    first = uuid7.after(None, 1)
    nexts = {uuid7.after(first, 1) for _ in range(200)}
    assert len(nexts) == 200
