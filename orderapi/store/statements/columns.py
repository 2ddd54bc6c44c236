"""The columns of the tables, each list once. It has the order of the fields of the table's record.

The audit has lists of its own, because it reads the columns in another order.
"""

from collections.abc import Sequence
from dataclasses import fields

from orderapi.records import Event, IdempotencyRecord, LedgerEntry, Order, Token

ORDERS = ("order_id", "client_id", "customer_id", "item_id", "quantity", "status", "created_at")
LEDGER = (
    "ledger_id", "order_id", "customer_id", "item_id", "quantity", "entry_type", "created_at",
)  # fmt: skip
IDEMPOTENCY_KEYS = (
    "client_id", "idempotency_key", "request_hash", "status_code", "response_body", "order_id",
    "created_at",
)  # fmt: skip
EVENTS = (
    "sequence", "event_id", "type", "order_id", "client_id", "payload", "created_at", "traceparent",
)  # fmt: skip
TOKENS = (
    "token_id", "token_hash", "prefix", "client_id", "label", "scopes", "created_at", "expires_at",
    "last_used_at", "revoked_at",
)  # fmt: skip


def select_list(table: str, columns: Sequence[str]) -> str:
    """Return what comes after SELECT: each column with the name of its table."""
    return ", ".join(f"{table}.{column}" for column in columns)


def insert_statement(table: str, columns: Sequence[str]) -> str:
    """Return the statement that inserts a row, with one positional parameter for each column."""
    markers = ", ".join("?" * len(columns))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({markers})"  # noqa: S608 - constants of ours


def _fields_of(record: type[Order | LedgerEntry | Event | Token]) -> tuple[str, ...]:
    return tuple(field.name for field in fields(record))


assert _fields_of(Order) == ORDERS
assert _fields_of(LedgerEntry) == LEDGER
assert _fields_of(Event) == EVENTS
assert _fields_of(Token) == TOKENS
# An idempotency record has the field names of `Claim` and `Reply`. They differ from the columns.
assert len(fields(IdempotencyRecord)) == len(IDEMPOTENCY_KEYS)
