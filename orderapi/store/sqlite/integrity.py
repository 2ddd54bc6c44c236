"""The damage that SQLite itself finds in its file."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orderapi.errors import StoreCorrupt

# After a snapshot of this length, the check pauses, so that a writer can make a checkpoint and
# reset the WAL.
LONG_S = 0.5
PAUSE_S = 1.0

# Runs a statement on a snapshot of its own, and returns all of its rows.
Rows = Callable[[str], Sequence[Sequence[Any]]]

SCHEMA = "SELECT name, sql FROM sqlite_schema"

# With this name of a table, SQLite also checks the free pages.
_THE_SCHEMA_ITSELF = "sqlite_schema"


def findings(
    rows: Rows, expected_schema: Mapping[str, str | None], newest_known: int
) -> Iterator[str]:
    """Check the schema, each table with its indexes, and all references. Gives a line per finding.

    `expected_schema` gives the statement of each table, index and trigger, by name, as the
    migrations up to number `newest_known` make them. If a newer release has migrated the database,
    then its schema is not compared.

    `integrity_check` reads a table and its indexes in one snapshot. It cannot be divided,
    and the WAL cannot be reset meanwhile. Therefore it is run for one table at a time, with a pause
    after each check that took long. For a million orders, a check takes 1 to 5 s per table from a
    warm cache, and the WAL grew to 115 MB at 400 orders a second. From a cold disk it takes many
    times as long. Two things are left out, because only a check of the whole file finds them. Pages
    that are used twice show in the rows. Pages that are not used at all do no harm.
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
