"""Numbered migrations: which there are, which are due, and whose code may use the result."""

import re
from dataclasses import dataclass
from importlib.resources import files

from orderapi.errors import StoreRefused

_NAME = re.compile(r"(\d{4})_\w+\.sql")
_WORKS_WITH = re.compile(r"-- works-with: (\d+)\n")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema.

    `works_with` is the oldest schema number whose code still works on this step's result.
    """

    number: int
    works_with: int
    sql: str


def load(engine: str) -> list[Migration]:
    """Read an engine's migrations, in order; their numbers are 1, 2, 3 and so on."""
    found = []
    for file in files(f"orderapi.store.{engine}").joinpath("migrations").iterdir():
        name = _NAME.fullmatch(file.name)
        if name:
            sql = file.read_text(encoding="utf-8")
            header = _WORKS_WITH.match(sql)
            if not header:
                raise ValueError(f"{file.name} does not begin with '-- works-with: N'")
            found.append(Migration(int(name[1]), int(header[1]), sql))
    found.sort(key=lambda migration: migration.number)
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError(f"the migrations of {engine} are not numbered 1 to {len(found)}")
    return found


def due(known: list[Migration], applied: dict[int, int]) -> list[Migration]:
    """Tell which migrations are still to be applied.

    `applied` maps the numbers that the database has seen to their `works_with`. Raises
    StoreRefused if it has seen one whose result this release's code does not work on.
    """
    newest_known = known[-1].number
    needed = max((works_with for n, works_with in applied.items() if n > newest_known), default=0)
    if needed > newest_known:
        raise StoreRefused(
            f"the database has schema {max(applied)}, which needs a release that knows schema "
            f"{needed} or newer; this release knows {newest_known}"
        )
    return [migration for migration in known if migration.number not in applied]
