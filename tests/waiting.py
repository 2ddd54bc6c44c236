"""Waiting for a condition, never for a time."""

import time
from collections.abc import Callable


def wait_until(
    holds: Callable[[], bool],
    what: str = "",
    *,
    timeout_s: float = 30.0,
    pause_s: float = 0.01,
) -> None:
    """Wait until `holds()`; fail, naming `what` was waited for, if it never does."""
    give_up_at = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < give_up_at, f"not within {timeout_s:g} s: {what}"
        time.sleep(pause_s)
