"""The numbers that a transaction gives to new orders and events: each follows the greatest one."""

from collections.abc import Callable

from orderapi import uuid7
from orderapi.store.statements.execution import Execute
from orderapi.store.statements.timestamp import now_ms


class Numbers:
    """The greatest order id and the greatest event number, within one transaction.

    Each is read once, because writers are serialised, so no other one can take a number. Both
    must be forgotten when a part of the transaction is rolled back. `wait_for_turn` is called
    before the first of them is read: in an engine where transactions write at the same time, it
    waits until no other transaction takes numbers.
    """

    def __init__(self, execute: Execute, wait_for_turn: Callable[[], None]) -> None:
        self._execute = execute
        self._wait_for_turn = wait_for_turn
        self._order_id: str | None = None
        self._sequence: int | None = None

    def next_order_id(self) -> str:
        """Give an id that is greater than the id of every order so far."""
        if self._order_id is None:
            self._wait_for_turn()
            ((self._order_id,),) = self._execute("SELECT MAX(order_id) FROM orders", ())
        return uuid7.after(self._order_id, now_ms())

    def next_sequence(self) -> int:
        """Give the number that follows the number of the last event."""
        if self._sequence is None:
            self._wait_for_turn()
            ((sequence,),) = self._execute("SELECT COALESCE(MAX(sequence), 0) FROM events", ())
            self._sequence = int(sequence)
        return self._sequence + 1

    def note_order(self, order_id: str) -> None:
        """Note that an order with this id has been stored."""
        self._order_id = order_id

    def note_event(self, sequence: int) -> None:
        """Note that an event with this number has been stored."""
        self._sequence = sequence

    def forget(self) -> None:
        """Read both again when they are needed next."""
        self._order_id = self._sequence = None
