"""The function with which an engine runs a statement, and the types of its rows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = Sequence[Any]
# Named parameters (`:name`), or positional ones (`?`) in the statements that each order runs: those
# save a tenth of the time.
Parameters = Mapping[str, object] | Sequence[object]
# Runs a statement and gives its rows.
Execute = Callable[[str, Parameters], Iterable[Row]]


def one_row(rows: Iterable[Row]) -> Row | None:
    """Give the first row, or None if there is none.

    The rows are read to the end, because an unfinished cursor would hold its snapshot open.
    """
    found = list(rows)
    return found[0] if found else None


def values_of(record: Any) -> dict[str, Any]:
    """Give the fields of a record with slots by name.

    `dataclasses.asdict` copies each value, and that costs more than a statement.
    """
    return {name: getattr(record, name) for name in record.__slots__}
