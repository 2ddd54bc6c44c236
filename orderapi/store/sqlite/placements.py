"""Placing orders: in a batch, and from a snapshot where the answer exists already."""

from orderapi.errors import StoreUnavailable
from orderapi.orders import find_reply, place_order
from orderapi.records import Claim, NewOrder, Reply
from orderapi.store.sqlite.readers import Readers
from orderapi.store.sqlite.writer import Writer
from orderapi.store.statements.transaction import WriteTx

# After a start, a replay or a batch that does not succeed, the process looks up this many orders
# before it queues them.
LOOK_UPS = 100


class Placements:
    """The orders that one process places.

    The batch finds out whether a key is known. A look-up before the batch takes a tenth of the
    processor time of an order, but it answers a replay without a batch. Therefore the look-up is
    made where replays are likely: after the start of the process, and after each replay. It is also
    made where no batch succeeds, so that replays and conflicts continue while nothing can be
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
        # The id of the order that the batch has made for this request. It may not be committed yet.
        made: list[str] = []

        def place_in_batch(tx: WriteTx) -> Reply:
            reply = place_order(tx, claim, new_order, traceparent)
            if not reply.replayed:
                made.append(reply.order_id)
            return reply

        def find_committed() -> Reply | None:
            self._look_ups_left = LOOK_UPS
            try:
                found = self._find(claim, deadline)
            except StoreUnavailable:
                return None
            # An order of this request is no replay, and only its batch knows that it is safe.
            return None if found and found.order_id in made else found

        reply: Reply = self._writer.run(place_in_batch, deadline, find_committed)
        if reply.replayed:
            self._look_ups_left = LOOK_UPS
        return reply

    def _find(self, claim: Claim, deadline: float) -> Reply | None:
        return self._readers.run_one(lambda tx: find_reply(tx, claim), deadline)
