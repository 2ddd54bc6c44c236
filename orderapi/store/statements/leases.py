"""The leases: which store has which one, and until when.

An engine defines the SQL function `lease_clock_ms()`. It gives the time in milliseconds by a clock
that all processes with the same database share.
"""

from orderapi.records import Lease, LeaseRow
from orderapi.store.statements.execution import Execute, one_row

# Another store takes a lease that was not renewed for this time.
TERM_S = 10.0
# No release gives a lease for longer. A row that expires later was written before the clock was set
# back, or before the machine was started.
TERM_MAX_S = 30.0
assert TERM_S < TERM_MAX_S


class LeaseReads:
    """The statements that read leases."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def find(self, name: str) -> LeaseRow:
        """Find the row of a lease. A lease that has never had a holder has the fence 0."""
        row = one_row(
            self._execute(
                "SELECT holder, fence, expires_ms, lease_clock_ms() FROM leases WHERE name = :name",
                {"name": name},
            )
        )
        if row is None:
            return LeaseRow(None, 0, 0, is_expired=True)
        holder, fence, expires_ms, now_ms = row
        is_expired = not now_ms < expires_ms <= now_ms + _ms(TERM_MAX_S)
        return LeaseRow(holder, fence, expires_ms, is_expired)


class LeaseWrites(LeaseReads):
    """The statements that read and write leases."""

    def take(self, lease: Lease, seen: LeaseRow) -> bool:
        """Give a lease to a new holder, and tell whether it has the lease now.

        Nothing is changed if the row is no longer as it was when it was `seen`.
        """
        rows = self._execute(
            "INSERT INTO leases (name, holder, fence, expires_ms)"
            " VALUES (:name, :holder, :fence, lease_clock_ms() + :term_ms)"
            " ON CONFLICT (name) DO UPDATE SET"
            " holder = excluded.holder, fence = excluded.fence, expires_ms = excluded.expires_ms"
            " WHERE leases.fence = :seen_fence AND leases.expires_ms = :seen_expires_ms"
            " RETURNING fence",
            {
                **_values(lease),
                "seen_fence": seen.fence,
                "seen_expires_ms": seen.expires_ms,
            },
        )
        return one_row(rows) is not None

    def renew(self, lease: Lease) -> bool:
        """Let a lease expire TERM_S from now, and tell whether its holder still has it.

        No other store can take the lease before this transaction has ended.
        """
        rows = self._execute(
            "UPDATE leases SET expires_ms = lease_clock_ms() + :term_ms"
            " WHERE name = :name AND holder = :holder AND fence = :fence RETURNING fence",
            _values(lease),
        )
        return one_row(rows) is not None

    def give_up(self, lease: Lease) -> None:
        """Let anybody take a lease now. Nothing is changed if its holder has lost it."""
        self._execute(
            "UPDATE leases SET holder = NULL"
            " WHERE name = :name AND holder = :holder AND fence = :fence",
            {"name": lease.name, "holder": lease.holder, "fence": lease.fence},
        )


def _values(lease: Lease) -> dict[str, object]:
    return {
        "name": lease.name,
        "holder": lease.holder,
        "fence": lease.fence,
        "term_ms": _ms(TERM_S),
    }


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
