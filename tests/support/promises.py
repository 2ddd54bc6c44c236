"""The promises of the service, and which tests try to break each one.

`@promise("a 201 is durable")` marks a test. `python -m tests.support.promises` prints the table
that `tests/README.md` shows. `pytest -m promise` runs all marked tests.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

TESTS = Path(__file__).parent.parent

# The titles of the promises, in the order in which README.md lists them.
PROMISES = (
    "one key, one effect",
    "a 201 is durable",
    "a replay is the same answer",
    "a conflict touches nothing",
    "a failure is not remembered",
    "duplicates in flight wait",
    "a key is never forgotten",
    "bad days lose nothing",
    "an error is not a verdict",
)


@dataclass(frozen=True, slots=True, order=True)
class MarkedTest:
    """A test that tries to break a promise; `file` is relative to the folder `tests`."""

    file: str
    name: str


def promise(title: str) -> pytest.MarkDecorator:
    """Mark a test that tries to break the promise with this title.

    Raises ValueError if there is no promise with this title.
    """
    if title not in PROMISES:
        raise ValueError(f"there is no promise {title!r}; the promises are {PROMISES}")
    return pytest.mark.promise(title)


@cache
def marked_tests() -> dict[str, list[MarkedTest]]:
    """Give the marked tests by the title of their promise, without importing any test."""
    found: dict[str, list[MarkedTest]] = {title: [] for title in PROMISES}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, title in _marks(ast.parse(path.read_text())):
            found[title].append(MarkedTest(str(path.relative_to(TESTS)), name))
    return found


def table() -> str:
    """Write the table of promises and tests in Markdown, with one row for each file."""
    lines = ["| promise | file | tests |", "| --- | --- | --- |"]
    for title, tests in marked_tests().items():
        by_file: dict[str, list[str]] = {}
        for test in tests:
            by_file.setdefault(test.file, []).append(f"`{test.name}`")
        for file, names in by_file.items():
            lines.append(f"| {title} | [`{file}`]({file}) | {', '.join(names)} |")
    return "\n".join(lines)


def _marks(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                if _is_promise(decorator):
                    yield node.name, ast.literal_eval(decorator.args[0])


def _is_promise(decorator: ast.expr) -> TypeGuard[ast.Call]:
    return (
        isinstance(decorator, ast.Call)
        and isinstance(decorator.func, ast.Name)
        and decorator.func.id == promise.__name__
    )


if __name__ == "__main__":
    print(table())  # noqa: T201 - the output of this program
