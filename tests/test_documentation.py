"""The pages name only things that exist, and everything that people use is on a page."""

import ast
import configparser
import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from flask.testing import FlaskClient

from orderapi import settings
from orderapi.cli.commands import main
from orderapi.settings import PREFIX, read_settings
from orderapi.web.problems import PROBLEMS
from tests.support.http_messages import ask
from tests.support.pages import BY_PATH, PAGES, Page
from tests.support.running import REPOSITORY

FIRST_PAGE_MAX_LINES = 220
FIRST_PAGE = BY_PATH["README.md"]
OPERATORS_PAGE = BY_PATH["deploy/README.md"]
CHANGES = "## Changes"
REMOVED_SETTINGS = {PREFIX + name for name in settings._REMOVED}
# How the pages write the command, with its subcommand.
COMMAND = r"(?:^|sudo |\.venv/bin/)orderapi ((?:token )?[a-z]+)\b"


def all_commands() -> dict[str, click.Command]:
    """Give every command by the words that name it, such as `audit` and `token list`."""
    commands: dict[str, click.Command] = {}
    for name, command in main.commands.items():
        if isinstance(command, click.Group):
            commands |= {f"{name} {inner}": each for inner, each in command.commands.items()}
        else:
            commands[name] = command
    return commands


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.path)


def all_code() -> str:
    return "\n".join(page.code() for page in PAGES)


def test_each_folder_with_a_page_of_its_own_is_on_the_first_page() -> None:
    linked = set(FIRST_PAGE.links())
    assert {page.path for page in PAGES if page is not FIRST_PAGE} <= linked


def test_the_first_page_is_short() -> None:
    assert len(FIRST_PAGE.text.splitlines()) <= FIRST_PAGE_MAX_LINES


@each_page
def test_every_link_leads_to_a_file_and_to_a_heading(page: Page) -> None:
    for target in page.links():
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (REPOSITORY / page.path).parent / path if path else REPOSITORY / page.path
        assert file.exists(), target
        if anchor:
            linked = BY_PATH[str(file.resolve().relative_to(REPOSITORY))]
            assert anchor in linked.anchors(), target


@each_page
def test_every_file_of_the_repository_that_a_page_names_exists(page: Page) -> None:
    named = [
        span
        for span in page.code_spans()
        if re.fullmatch(r"(orderapi|deploy|tests|\.ci)/[\w./-]*|wsgi\.py|setup\.cfg", span)
    ]
    folders = (REPOSITORY, (REPOSITORY / page.path).parent)
    missing = [name for name in named if not any((f / name).exists() for f in folders)]
    assert missing == []


@pytest.mark.parametrize("parent", ["orderapi", "tests"])
def test_every_folder_with_code_is_on_the_page_of_its_parent(parent: str) -> None:
    folders = {path.parent for path in (REPOSITORY / parent).glob("*/__init__.py")}
    named = BY_PATH[f"{parent}/README.md"].code_spans()
    assert {f"{folder.relative_to(REPOSITORY)}/" for folder in folders} <= set(named)


def test_every_setting_is_in_the_table_with_its_default() -> None:
    table = {name.strip("`"): default for name, default, _ in OPERATORS_PAGE.rows("| name |")}
    assert set(table) == settings._KNOWN
    by_default = read_settings({})
    assert table["ORDERAPI_DATABASE_URL"] == f"`{by_default.database_url}`"
    assert table["ORDERAPI_BIND"] == f"`{by_default.bind}`"
    assert table["ORDERAPI_LOG_LEVEL"] == f"`{by_default.log_level}`"
    assert table["ORDERAPI_FAULT_INJECTION"] == "`on`"
    assert by_default.fault_injection
    assert table["ORDERAPI_AUTH"] == "`off`"


@each_page
def test_every_setting_that_a_page_names_exists(page: Page) -> None:
    named = set(re.findall(r"ORDERAPI_[A-Z_]*[A-Z]", page.text))
    assert named - settings._KNOWN - REMOVED_SETTINGS == set()
    if named & REMOVED_SETTINGS:
        before_the_changes, _, _ = page.text.partition(CHANGES)
        assert not any(name in before_the_changes for name in REMOVED_SETTINGS)


def test_every_problem_that_a_page_names_exists() -> None:
    slugs = {problem.slug for problem in PROBLEMS}
    # The first page's table of problems is compared in tests/api/test_problems.py.
    for page in PAGES:
        named = set(re.findall(r"\b[1-5]\d\d `([a-z]+(?:-[a-z]+)*)`", page.prose))
        named |= set(re.findall(r"/problems/([a-z-]+)", page.text))
        assert named <= slugs, page.path


def test_every_metric_is_in_the_table_and_every_metric_named_exists(client: FlaskClient) -> None:
    text = ask(client, "/metrics").body.decode()
    exposed = {
        name + "_total" * (kind == "counter" and not name.endswith("_total"))
        for name, kind in re.findall(r"^# TYPE (orderapi_\w+) (\w+)$", text, re.M)
    }
    tables = ("| metric |", "| metric of the database |")
    table = {row[0].strip("`") for header in tables for row in OPERATORS_PAGE.rows(header)}
    assert table == exposed
    parts = {name + suffix for name in exposed for suffix in ("_bucket", "_sum", "_count")}
    for page in PAGES:
        assert set(re.findall(r"\borderapi_[a-z_]+\b", page.text)) <= exposed | parts, page.path


def test_every_command_is_on_a_page_and_every_command_named_exists() -> None:
    named = set(re.findall(COMMAND, all_code(), re.M))
    assert named == set(all_commands())


@each_page
def test_every_option_of_a_command_that_a_page_names_exists(page: Page) -> None:
    for name, rest in re.findall(COMMAND + r"([^\n|;]*)", page.code(), re.M):
        options = {option for param in all_commands()[name].params for option in param.opts}
        for option in re.findall(r"(?<=\s)--[a-z-]+", rest):
            assert option in options | {"--help"}, f"orderapi {name} {option}"


def test_every_option_of_a_command_has_help() -> None:
    for command in main.commands.values():
        for param in command.params:
            assert not isinstance(param, click.Option) or param.help, f"{command.name} {param.name}"


def test_every_target_of_make_is_on_a_page_and_every_target_named_exists() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    targets = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.M)[0].split())
    named = set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", all_code()))
    assert named == targets


def test_every_option_of_the_installer_that_a_page_names_exists() -> None:
    named = set(re.findall(r"install\.sh (--[a-z-]+)", all_code()))
    named |= set(re.findall(r"--uninstall (--[a-z-]+)", all_code()))
    script = (REPOSITORY / "deploy" / "install.sh").read_text()
    assert named
    assert all(option in script for option in named)


def test_every_option_of_the_benchmark_that_a_page_names_exists() -> None:
    named = set(re.findall(r"BENCH=\"([^\"]*)\"", all_code()))
    options = {option for text in named for option in re.findall(r"--[a-z-]+", text)}
    help_text = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--help"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert options
    assert all(option in help_text for option in options)


def test_the_changes_begin_with_this_release_and_its_schema() -> None:
    parser = configparser.ConfigParser()
    parser.read(REPOSITORY / "setup.cfg")
    version = parser["metadata"]["version"]
    newest = max(
        int(path.name.partition("_")[0])
        for path in (REPOSITORY / "orderapi/store/sqlite/migrations").glob("*.sql")
    )
    _, _, changes = BY_PATH["orderapi/README.md"].text.partition(CHANGES)
    first, *_ = re.findall(r"^### (.*)$", changes, re.M)
    assert first == f"{version} (schema {newest})"


def test_every_message_of_a_log_that_troubleshooting_explains_exists() -> None:
    texts = constant_texts(REPOSITORY / "orderapi") + constant_texts(REPOSITORY / "deploy")
    texts += map(os.strerror, errno.errorcode)
    for row in OPERATORS_PAGE.rows("| message or `reason` |"):
        for message in re.findall(r"`([^`]+)`", row[0]):
            if not re.fullmatch(r"SQLITE_\w+", message):
                # Numbers and names of settings are filled in when the message is written.
                parts = re.split(r"\d+|ORDERAPI_\w*|\.\.\.|: ", message)
                for part in filter(None, (part.strip(" :") for part in parts)):
                    assert any(part in text for text in texts), message


def constant_texts(folder: Path) -> list[str]:
    """Give every text in the code of a folder, as one string where Python joins the parts."""
    return [
        node.value
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ] + [str(path.read_text()) for path in folder.rglob("*.conf.py")]
