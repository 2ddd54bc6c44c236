"""Numbered migrations: which exist, which are due, and which releases work on the result."""

import re
from collections import defaultdict
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

from orderapi.errors import StoreRefused

# The number of the migration and, if the migration has several files, the number of the file.
_NAME = re.compile(r"(\d{4})_(?:(\d)_)?\w+\.sql")
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
    """Read the migrations of an engine, as `read_folder` does."""
    return read_folder(files(f"orderapi.store.{engine}").joinpath("migrations"))


def read_folder(folder: Traversable) -> list[Migration]:
    """Read the migrations in a folder, in order.

    The first migration may have any number: the first schema of an engine has the number of the
    schema that other engines have at the time. The files of one migration are numbered from 1, such
    as `0010_1_tables.sql`. Without these numbers, two files with the same number were probably
    written on two branches, and a database that has one of them would never get the other.

    Raises ValueError if two migrations have the same number, if the numbers of the migrations or of
    the files of one migration have a gap, or if a file has no header.
    """
    found: dict[int, list[tuple[str | None, int, str]]] = defaultdict(list)
    for file in sorted(folder.iterdir(), key=lambda file: file.name):
        name = _NAME.fullmatch(file.name)
        if name:
            sql = file.read_text(encoding="utf-8")
            header = _WORKS_WITH.match(sql)
            if not header:
                raise ValueError(f"{file.name} does not begin with '-- works-with: N'")
            found[int(name[1])].append((name[2], int(header[1]), sql))
    numbers = list(found)
    if not numbers or numbers != list(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(f"the numbers of the migrations in {folder} have a gap: {numbers}")
    return [_join_files(number, parts) for number, parts in found.items()]


def _join_files(number: int, parts: list[tuple[str | None, int, str]]) -> Migration:
    numbers = [part for part, _, _ in parts]
    if numbers not in ([None], [str(at + 1) for at in range(len(parts))]):
        raise ValueError(
            f"the files of the migration {number} are not numbered from 1, or belong to several"
            " migrations"
        )
    works_with = max(works_with for _, works_with, _ in parts)
    return Migration(number, works_with, "\n".join(sql for _, _, sql in parts))


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
