"""Placing orders: in a batch, and from a snapshot where the answer exists already."""

from contextlib import suppress

from orderapi.errors import StoreUnavailable
from orderapi.orders import find_reply, place_order
from orderapi.records import Claim, NewOrder, Reply
from orderapi.store.sqlite.readers import Readers
from orderapi.store.sqlite.writer import Writer
from orderapi.store.statements.transaction import WriteTx

# After a replay, this many orders of the process are looked up before they are queued.
LOOK_UPS = 100


class Placements:
    """The orders that one process places.

    A batch finds a key that is known, so it need not be looked up before. The look-up takes a tenth
    of the processor time of an order. But it finds a replay at once, without a batch. So it is made
    where replays are likely: after the start of the process, and after each replay. It is also made
    where a batch does not commit. Therefore replays and conflicts continue while nothing can be
    written.
    """

    def __init__(self, readers: Readers, writer: Writer) -> None:
        self._readers = readers
        self._writer = writer
        self._look_ups_left = LOOK_UPS

    def place(
        self, claim: Claim, new_order: NewOrder, traceparent: str | None, deadline: float
    ) -> Reply:
        """See `contract.Store.place`."""
        if self._look_ups_left > 0:
            self._look_ups_left -= 1
            first_reply = self._find(claim, deadline)
            if first_reply is not None:
                self._look_ups_left = LOOK_UPS
                return first_reply
        # What the batch has answered, which may not be committed yet.
        answered: list[Reply] = []

        def place_in_batch(tx: WriteTx) -> Reply:
            answered.append(place_order(tx, claim, new_order, traceparent))
            return answered[-1]

        def find_committed() -> Reply | None:
            self._look_ups_left = LOOK_UPS
            with suppress(StoreUnavailable):
                found = self._find(claim, deadline)
                # An order of this request is no replay, and only its batch knows that it is safe.
                is_own = found and any(
                    each.order_id == found.order_id and not each.replayed for each in answered
                )
                return None if is_own else found
            return None

        reply: Reply = self._writer.run(place_in_batch, deadline, find_committed)
        if reply.replayed:
            self._look_ups_left = LOOK_UPS
        return reply

    def _find(self, claim: Claim, deadline: float) -> Reply | None:
        return self._readers.run_one(lambda tx: find_reply(tx, claim), deadline)
