"""What SQLite itself can tell of damage in its file; no connection of its own."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orderapi.errors import StoreCorrupt

# After a snapshot so long the writers get a moment to take the WAL in and begin it anew.
LONG_S = 0.5
PAUSE_S = 1.0

# Runs a statement on a snapshot of its own and gives all its rows.
Rows = Callable[[str], Sequence[Sequence[Any]]]

SCHEMA = "SELECT name, sql FROM sqlite_schema"

# Given as a table's name, it has the free pages checked too.
_THE_SCHEMA_ITSELF = "sqlite_schema"


def findings(
    rows: Rows, expected_schema: Mapping[str, str | None], newest_known: int
) -> Iterator[str]:
    """Check the schema, each table with its indexes, and what refers to what; a line per finding.

    `expected_schema` gives the statement behind each table, index and trigger, by name, as the
    migrations up to number `newest_known` make them. If a newer release has been here, its schema
    is not compared.

    `integrity_check` reads a table and its indexes in one snapshot, which keeps the WAL from being
    reset meanwhile: it cannot be had in smaller parts. So it is run a table at a time, with a pause
    after each that took long. For a million orders that is 1 to 5 s a table from a warm cache, and
    the WAL grew to 115 MB at 400 orders a second; from a cold disk it takes many times as long. It
    leaves out the two things that only a check of the whole file sees: pages in use twice, and
    pages lost to any use. The former shows in the rows, the latter harms nobody.
    """
    try:
        found = {name: sql for name, sql in rows(SCHEMA)}  # noqa: C416 - a row is no pair to mypy
        ((newest_applied,),) = rows("SELECT MAX(number) FROM schema_migrations")
    except StoreCorrupt as error:
        yield f"schema: {error.reason}"
        return
    if newest_applied <= newest_known:
        yield from _schema_findings(found, expected_schema)
    for table in (_THE_SCHEMA_ITSELF, *_tables(found)):
        began_at = time.monotonic()
        try:
            yield from _table_findings(rows, table)
        except StoreCorrupt as error:
            yield f"{table}: {error.reason}"
        if time.monotonic() - began_at > LONG_S:
            time.sleep(PAUSE_S)


def _schema_findings(
    found: Mapping[str, str | None], expected: Mapping[str, str | None]
) -> Iterator[str]:
    for name, sql in expected.items():
        if name not in found:
            yield f"schema: {name} is missing"
        elif found[name] != sql:
            yield f"schema: {name} is not as the migrations made it"


def _table_findings(rows: Rows, table: str) -> Iterator[str]:
    for (finding,) in rows(f'PRAGMA integrity_check("{table}")'):
        if finding != "ok":
            yield f"{table}: integrity_check: {' '.join(finding.split())}"
    for _, rowid, parent, _ in rows(f'PRAGMA foreign_key_check("{table}")'):
        yield f"{table} row {rowid}: foreign_key_check: no such row in {parent}"


def _tables(schema: Mapping[str, str | None]) -> Iterator[str]:
    for name, sql in schema.items():
        if sql is not None and sql.upper().startswith("CREATE TABLE"):
            yield name
