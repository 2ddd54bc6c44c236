"""The store in a database of PostgreSQL: reading through a few connections, writing through two."""

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from orderapi.errors import KeyReused, StoreUnavailable
from orderapi.maintenance_records import StoreUsage
from orderapi.records import Claim, Event, Lease, NewOrder, Reply, SavedClaim
from orderapi.settings import PostgresUrl
from orderapi.store import migrate
from orderapi.store.commit_stats import CommitStats
from orderapi.store.contract import Measures, deadline_of
from orderapi.store.leases import Leases
from orderapi.store.postgres import start
from orderapi.store.postgres.placements import Placement, Placements, answer_to, placement_of
from orderapi.store.postgres.pool import Pool
from orderapi.store.postgres.primary import Primary
from orderapi.store.postgres.readers import CONNECTIONS_MAX, READ_MIN_S, Readers
from orderapi.store.postgres.session import Sessions
from orderapi.store.postgres.settled import SettledEvents
from orderapi.store.postgres.writes import Writes
from orderapi.store.statements.transaction import ReadTx, WriteTx

T = TypeVar("T")

# One poll of the feed is a round trip to the server, for each process in which a reader waits.
POLL_INTERVAL_S = 0.1


class PostgresStore:
    """See `contract.Store`. Nothing is opened until the store is used."""

    poll_interval_s = POLL_INTERVAL_S

    def __init__(self, url: PostgresUrl) -> None:
        self._url = url
        self._known = migrate.load("postgres")
        sessions = Sessions(url, self._known)
        self._pool = Pool(sessions.open_for_reading, CONNECTIONS_MAX)
        self._readers = Readers(self._pool)
        self._stats = CommitStats()
        self._placements = Placements(Primary(sessions), self._stats)
        self._writes = Writes(Primary(sessions), self._stats)
        self._settled = SettledEvents(
            self._writes, self._waits_for_standby, lambda: self._placements.safe_sequence
        )
        self._leases = Leases(self.read_one, self.write, _NoEvidence)

    def prepare(self) -> None:
        """See `contract.Store`."""
        start.prepare(self._url, self._known)

    def read(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        return self._readers.run(fn, deadline)

    def read_one(self, fn: Callable[[ReadTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        return self._readers.run_one(fn, deadline)

    def write(self, fn: Callable[[WriteTx], T], deadline: float | None = None) -> T:
        """See `contract.Store`."""
        result: T = self._writes.run(fn, deadline_of(deadline))
        return result

    def place(
        self,
        claim: Claim,
        new_order: NewOrder,
        traceparent: str | None = None,
        deadline: float | None = None,
    ) -> Reply:
        """See `contract.Store`.

        The server decides whether the key is new. A look-up before would cost more than the write.
        While writes do not commit, replays and conflicts are answered from a snapshot, as far as
        that is safe.
        """
        deadline = deadline_of(deadline)
        placement = placement_of(claim, new_order, traceparent)
        if self._placements.is_healthy():
            look_up = partial(self._safe_reply, placement)
            return self._placements.place(placement, deadline, look_up)
        # Many requests may be here at the same time, so each reads the key at most once.
        reply = self._safe_reply(placement)
        return reply or self._placements.place(placement, deadline)

    def settled_events(self, events: list[Event]) -> list[Event]:
        """See `contract.Store`."""
        return self._settled.select(events)

    def lease(self, name: str) -> Lease | None:
        """See `contract.Store`."""
        return self._leases.lease(name)

    def seconds_since_commit(self) -> float:
        """See `contract.Store`."""
        return self._stats.seconds_since_commit()

    def writes_in_hand(self) -> int:
        """See `contract.Store`."""
        return self._placements.queue.in_hand() + self._writes.queue.in_hand()

    def usage(self) -> StoreUsage:
        """See `contract.Store`. PostgreSQL does not tell how much of its disk is free."""
        ((database_bytes,),) = self._readers.rows("SELECT pg_database_size(current_database())")
        return StoreUsage(int(database_bytes), None, None)

    def measure_with(self, measures: Measures) -> None:
        """See `contract.Store`."""
        self._stats.report_to(measures)

    def close(self) -> None:
        """See `contract.Store`."""
        self._leases.close()
        self._placements.queue.stop()
        self._writes.queue.stop()
        self._pool.close()

    def _waits_for_standby(self) -> bool:
        ((names,),) = self._readers.rows(
            "SELECT current_setting('synchronous_standby_names')", time.monotonic() + READ_MIN_S
        )
        return bool(names)

    def _safe_reply(self, placement: Placement) -> Reply | None:
        """Find the answer to a claim if no failover can lose it.

        The row of another process, or of a batch with an unknown outcome, may be missing on the
        standby. A commit that this process saw without a warning is on the standby, and so are all
        commits before it. Raises KeyReused if the key belongs to another payload.
        """
        try:
            found = self._readers.run_one(
                partial(_find, placement.claim), time.monotonic() + READ_MIN_S
            )
        except StoreUnavailable:
            return None
        if found is None or found[1] > self._placements.safe_sequence:
            return None
        answer = answer_to(placement, found[0])
        if isinstance(answer, KeyReused):
            raise answer
        return answer


def _find(claim: Claim, tx: ReadTx) -> tuple[SavedClaim, int] | None:
    """Find the saved answer to a claim, and the number of the event of its order."""
    return tx.keys.find_claim_and_sequence(claim.client_id, claim.key)


class _NoEvidence:
    """See `leases.HolderEvidence`. The row alone decides, as no older release has this engine."""

    def __init__(self, name: str) -> None:
        del name

    def exclude_older_releases(self) -> bool:
        """See `leases.HolderEvidence`."""
        return True

    def mark_alive(self, _fence: int) -> bool:
        """See `leases.HolderEvidence`."""
        return True

    def is_dead(self, _fence: int) -> bool:
        """See `leases.HolderEvidence`.

        A holder on another machine may be alive, so its lease must expire.
        """
        return False

    def close(self) -> None:
        """See `leases.HolderEvidence`."""
