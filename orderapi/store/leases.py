"""The leases of one store: how they are taken, renewed and lost. All engines share this.

A lease is a row with its holder, a fence and the time when it expires. A thread renews the row, so
that the holder may wait for something else meanwhile. A holder that dies or is suspended stops
renewing, and another store takes the lease with a greater fence once it has expired. The clocks of
two machines are never compared: the engine has one clock for all.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any, Protocol

from orderapi.errors import StoreUnavailable
from orderapi.records import Lease, LeaseRow
from orderapi.store.statements.leases import TERM_S
from orderapi.store.statements.transaction import ReadTx, WriteTx

RENEW_EVERY_S = 2.5
assert RENEW_EVERY_S * 3 < TERM_S
# A store that closes gives up its leases within this time, or leaves them to expire.
_GIVE_UP_MAX_S = 1.0


class HolderEvidence(Protocol):
    """What an engine knows about the holders of one lease, beyond the row of the lease."""

    def exclude_older_releases(self) -> bool:
        """Keep older releases from the lease, and tell whether none of them has it now.

        The row does not show such a holder. If the result is True, no older release can take the
        lease until `close`. Raises StoreUnavailable if this cannot be decided.
        """

    def mark_alive(self, fence: int) -> bool:
        """Show to other processes that the holder with this fence lives.

        Returns False if another process has this mark. Raises StoreUnavailable if the mark cannot
        be made.
        """

    def is_dead(self, fence: int) -> bool:
        """Tell whether the process of the holder with this fence has certainly ended."""

    def close(self) -> None:
        """Undo `exclude_older_releases` and every `mark_alive`."""


class Leases:
    """The leases of one store.

    `read(fn)` and `write(fn, deadline)` run a unit of work, as the store does. `evidence_of(name)`
    gives what the engine knows about the lease of that name.
    """

    def __init__(
        self,
        read: Callable[[Callable[[ReadTx], LeaseRow]], LeaseRow],
        write: Callable[[Callable[[WriteTx], Any], float | None], Any],
        evidence_of: Callable[[str], HolderEvidence],
    ) -> None:
        self._read = read
        self._write = write
        self._evidence_of = evidence_of
        # The host and the process are for the operator. The random part makes the name unique.
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{os.urandom(4).hex()}"
        self._evidence: dict[str, HolderEvidence] = {}
        self._held: dict[str, Lease] = {}
        self._is_closing = threading.Event()
        self._renewing: threading.Thread | None = None

    def lease(self, name: str) -> Lease | None:
        """See `contract.Store.lease`."""
        if name not in self._evidence:
            self._evidence[name] = self._evidence_of(name)
        are_excluded = self._evidence[name].exclude_older_releases()
        lease = self._confirm_or_take(name) if are_excluded else None
        if lease is None:
            self._held.pop(name, None)
        else:
            self._held[name] = lease
            self._start_renewing()
        return lease

    def close(self) -> None:
        """Give up every lease."""
        self._is_closing.set()
        deadline = time.monotonic() + _GIVE_UP_MAX_S
        for lease in self._held.values():
            with suppress(StoreUnavailable):
                self._write(partial(_give_up, lease), deadline)
        for evidence in self._evidence.values():
            evidence.close()

    def _confirm_or_take(self, name: str) -> Lease | None:
        found = self._read(lambda tx: tx.leases.find(name))
        if found.holder == self._holder:
            # It may not be in `_held`: the outcome of the transaction that took it was not known.
            return self._confirm(Lease(name, self._holder, found.fence), found)
        # A holder that has lost the lease must notice it, even if the lease is free again.
        return None if name in self._held else self._take(name, found)

    def _confirm(self, lease: Lease, found: LeaseRow) -> Lease | None:
        if not self._evidence[lease.name].mark_alive(lease.fence):
            return None
        # After a pause of this process, the lease may have expired without a new holder.
        if found.is_expired and not self._write(partial(_renew, lease), None):
            return None
        return lease

    def _take(self, name: str, found: LeaseRow) -> Lease | None:
        evidence = self._evidence[name]
        if not (found.holder is None or found.is_expired or evidence.is_dead(found.fence)):
            return None
        # The mark comes first, because a store that sees the new row must not find its holder dead.
        # A store that was suspended on its way may have marked the next fence.
        fence = next(filter(evidence.mark_alive, count(found.fence + 1)))
        lease = Lease(name, self._holder, fence)
        is_taken = self._write(lambda tx: tx.leases.take(lease, found), None)
        return lease if is_taken else None

    def _start_renewing(self) -> None:
        if self._renewing is None:
            self._renewing = threading.Thread(target=self._renew, name="leases", daemon=True)
            self._renewing.start()

    def _renew(self) -> None:
        while not self._is_closing.wait(RENEW_EVERY_S):
            for lease in list(self._held.values()):
                # The holder calls `lease` before it acts. That call tells it of a lost lease.
                with suppress(StoreUnavailable):
                    self._write(partial(_renew, lease), time.monotonic() + RENEW_EVERY_S)


def _renew(lease: Lease, tx: WriteTx) -> bool:
    return tx.leases.renew(lease)


def _give_up(lease: Lease, tx: WriteTx) -> None:
    tx.leases.give_up(lease)
