"""The row that shows that writes still commit."""

from orderapi.store.statements.execution import Execute


class ProbeWrites:
    """What is written of the readiness probe, at the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        self._execute = execute
        self._now = now

    def touch(self) -> None:
        """Rewrite the probe's row."""
        self._execute("UPDATE readiness_probe SET checked_at = :now", {"now": self._now})
