"""The numbers that a transaction gives to new orders and events: each follows the greatest one."""

from collections.abc import Callable

from orderapi import uuid7
from orderapi.store.statements.execution import Execute
from orderapi.store.statements.timestamp import now_ms

_GREATEST = (
    "SELECT (SELECT MAX(order_id) FROM orders), (SELECT COALESCE(MAX(sequence), 0) FROM events)"
)


class Numbers:
    """The greatest order id and the greatest event number, within one transaction.

    They are read once, because writers are serialised: no other writer can take a number meanwhile.
    They must be forgotten when a part of the transaction is rolled back. `wait_for_turn` is called
    before they are read. In an engine where transactions write at the same time, it waits until no
    other transaction takes numbers.
    """

    def __init__(self, execute: Execute, wait_for_turn: Callable[[], None]) -> None:
        self._execute = execute
        self._wait_for_turn = wait_for_turn
        self._are_known = False
        self._order_id: str | None = None
        self._sequence = 0

    def next_order_id(self) -> str:
        """Give an id that is greater than the id of every order so far."""
        self._read()
        return uuid7.after(self._order_id, now_ms())

    def next_sequence(self) -> int:
        """Give the number that follows the number of the last event."""
        self._read()
        return self._sequence + 1

    def note_order(self, order_id: str) -> None:
        """Note that an order with this id has been stored."""
        self._order_id = order_id

    def note_event(self, sequence: int) -> None:
        """Note that an event with this number has been stored."""
        self._sequence = sequence

    def forget(self) -> None:
        """Read both again when one of them is needed next."""
        self._are_known = False

    def _read(self) -> None:
        if not self._are_known:
            self._wait_for_turn()
            ((self._order_id, self._sequence),) = self._execute(_GREATEST, ())
            self._are_known = True
