"""The position of the relay, and the failure that blocks it."""

from orderapi.records import RelayState
from orderapi.store.statements.execution import Execute


class RelayReads:
    """The statements that read the state of the relay."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find_position(self) -> int:
        """Find the sequence number of the last delivered event; 0 before the first delivery."""
        ((sequence,),) = self._execute("SELECT sequence FROM relay_position", {})
        return int(sequence)

    def find_state(self) -> RelayState:
        """Find how far the relay is behind, and the failure that blocks it, if there is one."""
        (row,) = self._execute(
            "SELECT sequence, (SELECT COALESCE(MAX(sequence), 0) FROM events),"
            " (SELECT created_at FROM events WHERE events.sequence > relay_position.sequence"
            " ORDER BY events.sequence LIMIT 1), failures, blocked_since, blocked_reason"
            " FROM relay_position",
            {},
        )
        return RelayState(*row)


class RelayWrites(RelayReads):
    """The statements that read and write the state of the relay. New values get the time `now`."""

    def __init__(self, execute: Execute, now: str) -> None:
        super().__init__(execute)
        self._now = now

    def move_to(self, sequence: int) -> None:
        """Record that the relay has delivered everything up to a sequence number."""
        self._execute(
            "UPDATE relay_position SET sequence = :sequence, changed_at = :now",
            {"sequence": sequence, "now": self._now},
        )

    def note_failure(self, position: int, reason: str) -> None:
        """Record a failed delivery of the event after `position`.

        Nothing is recorded when the relay has moved to another position meanwhile.
        """
        self._execute(
            "UPDATE relay_position SET failures = failures + 1, blocked_reason = :reason,"
            " blocked_since = COALESCE(blocked_since, :now) WHERE sequence = :position",
            {"position": position, "reason": reason, "now": self._now},
        )
