"""The row that shows that writes still commit."""

from collections.abc import Callable

from orderapi.store.statements.execution import Execute


class ProbeWrites:
    """What is written of the readiness probe, at the time `now`.

    `wait_for_turn` is that of `Numbers`.
    """

    def __init__(self, execute: Execute, now: str, wait_for_turn: Callable[[], None]) -> None:
        self._execute = execute
        self._now = now
        self._wait_for_turn = wait_for_turn

    def touch(self) -> None:
        """Rewrite the probe's row, after the same wait that an order has."""
        self._wait_for_turn()
        self._execute("UPDATE readiness_probe SET checked_at = :now", {"now": self._now})
