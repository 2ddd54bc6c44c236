"""The argument of a unit of work: all statements by subject, in one snapshot or transaction."""

from collections.abc import Callable

from orderapi.store.statements.audit import AuditReads
from orderapi.store.statements.backups import BackupReads, BackupWrites
from orderapi.store.statements.events import EventReads, EventWrites
from orderapi.store.statements.execution import Execute
from orderapi.store.statements.keys import KeyReads, KeyWrites
from orderapi.store.statements.last_audit import LastAuditReads, LastAuditWrites
from orderapi.store.statements.leases import LeaseReads, LeaseWrites
from orderapi.store.statements.lookup import LookupReads
from orderapi.store.statements.numbers import Numbers
from orderapi.store.statements.orders import OrderReads, OrderWrites
from orderapi.store.statements.probe import ProbeWrites
from orderapi.store.statements.relay import RelayReads, RelayWrites
from orderapi.store.statements.timestamp import now_text
from orderapi.store.statements.tokens import TokenReads, TokenWrites


class ReadTx:
    """The statements that read; all of them see the same snapshot."""

    def __init__(self, execute: Execute) -> None:
        self.orders = OrderReads(execute)
        self.keys = KeyReads(execute)
        self.events = EventReads(execute)
        self.relay = RelayReads(execute)
        self.leases = LeaseReads(execute)
        self.tokens = TokenReads(execute)
        self.backups = BackupReads(execute)
        self.last_audit = LastAuditReads(execute)
        self.audit = AuditReads(execute)
        self.lookup = LookupReads(execute)


class WriteTx:
    """The statements that write, and those that read; all writes become durable together, or none.

    Every row that a transaction writes has the same time: the time at which the transaction began.
    `wait_for_turn` has the meaning that it has in `Numbers`.
    """

    def __init__(self, execute: Execute, wait_for_turn: Callable[[], None] = lambda: None) -> None:
        now = now_text()
        self.numbers = Numbers(execute, wait_for_turn)
        self.orders = OrderWrites(execute, now, self.numbers)
        self.keys = KeyWrites(execute, now)
        self.events = EventWrites(execute, self.numbers)
        self.relay = RelayWrites(execute, now)
        self.leases = LeaseWrites(execute)
        self.tokens = TokenWrites(execute, now)
        self.backups = BackupWrites(execute, now)
        self.last_audit = LastAuditWrites(execute, now)
        self.probe = ProbeWrites(execute, now, wait_for_turn)
