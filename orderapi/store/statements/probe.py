"""The row that shows that writes still commit."""

from collections.abc import Callable

from orderapi.store.statements.execution import Execute


class ProbeWrites:
    """The statement that writes the row of the readiness probe, with the time `now`.

    `wait_for_turn` has the meaning that it has in `Numbers`.
    """

    def __init__(self, execute: Execute, now: str, wait_for_turn: Callable[[], None]) -> None:
        self._execute = execute
        self._now = now
        self._wait_for_turn = wait_for_turn

    def touch(self) -> None:
        """Rewrite the probe's row, after the same wait that an order has."""
        self._wait_for_turn()
        self._execute("UPDATE readiness_probe SET checked_at = :now", {"now": self._now})
