"""Each promise has tests that try to break it, and `tests/README.md` shows which ones."""

import re

import pytest

from tests.support.promises import PROMISES, marked_tests, promise, table
from tests.support.running import REPOSITORY


def test_the_promises_are_those_of_the_first_page() -> None:
    page = (REPOSITORY / "README.md").read_text()
    section = page.partition("## What it promises")[2].partition("\n## ")[0]
    titles = re.findall(r"^\| ([a-z0-9, ]+) \|", section, re.M)
    assert titles == ["promise", *PROMISES]


@pytest.mark.parametrize("title", PROMISES)
def test_a_test_with_real_faults_tries_to_break_each_promise(title: str) -> None:
    tests = marked_tests()[title]
    assert any(test.file.startswith("faults/") for test in tests), tests


def test_the_page_of_the_tests_shows_the_tests_of_each_promise() -> None:
    page = (REPOSITORY / "tests" / "README.md").read_text()
    assert table() in page, "put the output of `python -m tests.support.promises` into the page"


def test_a_promise_that_does_not_exist_cannot_be_marked() -> None:
    with pytest.raises(ValueError, match="there is no promise 'a 201 is quick'"):
        promise("a 201 is quick")
