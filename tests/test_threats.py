"""The table of threats names tests that exist, at least one for each threat."""

import ast
import re
from pathlib import Path

import pytest

from tests.support.pages import BY_PATH

TESTS = Path(__file__).parent
ROWS = BY_PATH["deploy/README.md"].rows("| who |")
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def names_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_table_has_the_threats_that_every_service_has() -> None:
    text = " ".join(what for _, what, _, _ in ROWS)
    assert len(ROWS) >= 30
    for word in ("guesses a token", "time", "smuggling", "log", "slowly", "core dump"):
        assert word in text


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_each_threat_names_tests_that_exist(row: list[str]) -> None:
    *words, tests = row
    assert all(words)
    named = NAMED.findall(tests)
    assert named
    # The cell contains only names, so no name is overlooked.
    assert tests == ", ".join(f"`{file}::{name}`" for file, name in named)
    for file, name in named:
        assert name in names_in(TESTS / file), f"{file}::{name}"
