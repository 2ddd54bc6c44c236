"""What a copy of a whole store reads: which tables and columns there are, and in which order.

A copy writes rows in the engine's own way, as fast as the engine can. The statements that read them
are here, because they are the same for all engines.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from orderapi.store.statements.columns import EVENTS, IDEMPOTENCY_KEYS, LEDGER, ORDERS, TOKENS
from orderapi.store.statements.execution import Execute, Row, one_row


@dataclass(frozen=True, slots=True)
class GrowingTable:
    """A table whose rows are added and then never change.

    `key` is the column that orders the rows, and `start` is less than every key. So a copy that was
    interrupted continues after the last key that it has copied.
    """

    name: str
    key: str
    start: str | int
    columns: tuple[str, ...]

    def key_of(self, row: Sequence[Any]) -> Any:
        """Return the key of a row of `columns`."""
        return row[self.columns.index(self.key)]


@dataclass(frozen=True, slots=True)
class ChangingTable:
    """A table with few rows, which change. A copy replaces all of them at its end.

    `values` are the expressions that give the `columns`.
    """

    name: str
    columns: tuple[str, ...]
    values: tuple[str, ...]


_RELAY = ("relay_id", "sequence", "changed_at", "blocked_since", "blocked_reason", "failures")
_VERSION = ("version_id", "version")

# Each table comes after those to which its rows refer.
GROWING_TABLES = (
    GrowingTable("orders", "order_id", "", ORDERS),
    GrowingTable("ledger", "ledger_id", 0, LEDGER),
    GrowingTable("idempotency_keys", "order_id", "", IDEMPOTENCY_KEYS),
    GrowingTable("events", "sequence", 0, EVENTS),
)
# The version of the tokens comes after the tokens, because each new token changes it. The holder of
# a lease uses the source, so the lease is free in the target. Its fence stays, because fences must
# never shrink.
CHANGING_TABLES = (
    ChangingTable("tokens", TOKENS, TOKENS),
    ChangingTable("tokens_version", _VERSION, _VERSION),
    ChangingTable("relay_position", _RELAY, _RELAY),
    ChangingTable("leases", ("name", "fence", "expires_ms"), ("name", "fence", "0")),
)
# These tables describe only the source: how its last audit and its last backups ended, when the
# readiness probe last wrote, and which migrations have made its tables.
TABLES_LEFT_OUT = ("last_audit", "last_backup", "readiness_probe", "schema_migrations")


class CopyReads:
    """The statements with which a copy reads one store, on one snapshot."""

    def __init__(self, execute: Execute) -> None:
        self._execute = execute

    def is_empty(self) -> bool:
        """Tell whether the store has no order and no token, and nothing that belongs to one."""
        return not any(
            one_row(self._execute(f"SELECT 1 FROM {name} LIMIT 1", ()))  # noqa: S608 - constants of ours
            for name in (*(table.name for table in GROWING_TABLES), "tokens")
        )

    def count(self, table: GrowingTable) -> int:
        """Count the rows of a table."""
        ((count,),) = self._execute(f"SELECT COUNT(*) FROM {table.name}", ())  # noqa: S608 - constants of ours
        return int(count)

    def count_before(self, table: GrowingTable, key: str) -> int:
        """Count the rows of a table before a key."""
        ((count,),) = self._execute(
            f"SELECT COUNT(*) FROM {table.name} WHERE {table.key} < ?",  # noqa: S608 - constants of ours
            (key,),
        )
        return int(count)

    def find_last(self, table: GrowingTable) -> Row | None:
        """Find the row with the greatest key of a table, or None if the table is empty."""
        return one_row(
            self._execute(f"{_select_statement(table)} ORDER BY {table.key} DESC LIMIT 1", ())
        )

    def has(self, table: GrowingTable, row: Row) -> bool:
        """Tell whether a table has this row, with the same value in every column."""
        found = one_row(
            self._execute(f"{_select_statement(table)} WHERE {table.key} = ?", (table.key_of(row),))
        )
        return found is not None and tuple(found) == tuple(row)

    def list_after(self, table: GrowingTable, key: str | int, size: int) -> list[Row]:
        """List the first `size` rows of a table after a key, in the order of the keys."""
        return list(
            self._execute(
                f"{_select_statement(table)} WHERE {table.key} > ? ORDER BY {table.key} LIMIT ?",
                (key, size),
            )
        )

    def list_all(self, table: ChangingTable) -> list[Row]:
        """List every row of a table, with the values that the copy gets."""
        return list(self._execute(f"SELECT {', '.join(table.values)} FROM {table.name}", ()))  # noqa: S608 - constants of ours

    def find_token_hashes(self) -> set[str]:
        """Find the hash of every token."""
        return {token_hash for (token_hash,) in self._execute("SELECT token_hash FROM tokens", ())}


def _select_statement(table: GrowingTable) -> str:
    return f"SELECT {', '.join(table.columns)} FROM {table.name}"  # noqa: S608 - constants of ours
