"""Numbered migrations: which exist, which are due, and which releases work on the result."""

import re
from collections import defaultdict
from dataclasses import dataclass
from importlib.resources import files

from orderapi.errors import StoreRefused

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_WORKS_WITH = re.compile(r"-- works-with: (\d+)\n")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    `works_with` is the oldest schema number whose code still works on the result of this step.
    """

    number: int
    works_with: int
    sql: str


def load(engine: str) -> list[Migration]:
    """Read the migrations of an engine, in order.

    Files with the same number are one migration, in the order of their names. The first migration
    may have any number: the first schema of an engine has the number of the schema that other
    engines have at the time. Raises ValueError if the numbers after it have a gap, or if a file has
    no header.
    """
    parts: dict[int, list[tuple[int, str]]] = defaultdict(list)
    folder = files(f"orderapi.store.{engine}").joinpath("migrations")
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = _NAME.fullmatch(file.name)
        if name:
            sql = file.read_text(encoding="utf-8")
            header = _WORKS_WITH.match(sql)
            if not header:
                raise ValueError(f"{file.name} does not begin with '-- works-with: N'")
            parts[int(name[1])].append((int(header[1]), sql))
    numbers = list(parts)
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"the numbers of the migrations of {engine} have a gap: {numbers}")
    return [
        Migration(
            number, max(works_with for works_with, _ in found), "\n".join(sql for _, sql in found)
        )
        for number, found in parts.items()
    ]


def find_due(known: list[Migration], applied: dict[int, int]) -> list[Migration]:
    """Return the migrations that must still be applied.

    `applied` maps the numbers of the migrations of the database to their `works_with`. Raises
    StoreRefused if the code of this release does not work on the result of one of them.
    """
    newest_known = known[-1].number
    needed = max((works_with for n, works_with in applied.items() if n > newest_known), default=0)
    if needed > newest_known:
        raise StoreRefused(
            f"the database has schema {max(applied)}, which needs a release that knows schema "
            f"{needed} or newer; this release knows {newest_known}"
        )
    return [migration for migration in known if migration.number not in applied]
