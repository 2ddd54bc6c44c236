"""The inputs of a command: settings, a store, a server and a token. Each of them is checked."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click

from orderapi.errors import SettingsInvalid, StoreFailure, StoreRefused, StoreUnavailable, one_line
from orderapi.ops.target import Target
from orderapi.settings import (
    DATABASE_URL,
    DatabaseUrl,
    Settings,
    SqliteUrl,
    parse_database_url,
    read_settings,
)
from orderapi.store.contract import Store
from orderapi.store.copying import CopySource, CopyTarget
from orderapi.store.maintenance import Auditable, Maintenance
from orderapi.store.open import (
    open_copy_source,
    open_copy_target,
    open_maintenance,
    open_store,
)

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

_TOKEN_MAX_BYTES = 4096
_STDIN = Path("-")


def database_option(
    help_text: str = "Use this database instead of ORDERAPI_DATABASE_URL.",
) -> Callable[[F], F]:
    """Return the option `--database`. A command gives its value to `check_settings`."""
    return click.option("--database", metavar="DATABASE_URL", help=help_text)


class IntegerInRange(click.IntRange):
    """An integer from a minimum to a maximum.

    click shows `name` in the help texts and in the messages about a wrong value.
    """

    name = "integer"


class CommandFailed(click.ClickException):
    """The command cannot do its work. The message is printed as one line on stderr."""

    exit_code = 1

    def __init__(self, message: str) -> None:
        # A path or an argument in the message may contain line breaks, or bytes that are no text.
        super().__init__(one_line(message))


class WrongUse(CommandFailed):
    """The command was used wrongly."""

    exit_code = 2


class CommandInterrupted(CommandFailed):
    """The operator has pressed Ctrl-C.

    A check that was interrupted has neither passed nor failed, so the exit code is one of its own.
    """

    exit_code = 128 + signal.SIGINT  # as a shell reports it

    def __init__(self) -> None:
        super().__init__("the command was interrupted before it had finished")


class DatabaseDamaged(CommandFailed):
    """The database is damaged."""


def check_settings(database_url: str | None) -> Settings:
    """Read the settings. The option `--database` replaces its environment variable.

    Raises WrongUse if a setting is unknown or invalid.
    """
    given = {} if database_url is None else {DATABASE_URL: database_url}
    try:
        return read_settings(os.environ | given)
    except SettingsInvalid as error:
        name = "--database" if error.name in given else error.name
        raise WrongUse(f"{name}: {error.problem}") from error


def parse_url_argument(text: str, name: str) -> DatabaseUrl:
    """Parse the URL that the argument `name` gives. Raises WrongUse if it is invalid."""
    try:
        return parse_database_url(text)
    except SettingsInvalid as error:
        raise WrongUse(f"{name}: {error.problem}") from error


def open_copy_ends(source: DatabaseUrl, target: DatabaseUrl) -> tuple[CopySource, CopyTarget]:
    """Return both ends of a copy. Raises WrongUse if one of them cannot be used here."""
    if source == target:
        raise WrongUse("SOURCE_URL and TARGET_URL are the same database")
    return (
        _open_or_refuse(partial(open_copy_source, source)),
        _open_or_refuse(partial(open_copy_target, target)),
    )


@contextmanager
def opened_store(settings: Settings, *, read_only: bool) -> Iterator[Store]:
    """Open the store for a command, and close it at the end of the `with` block.

    Raises WrongUse if it is not an orderapi database, and DatabaseDamaged if it is damaged.
    """
    store = _open_or_refuse(partial(open_store, settings.database_url, read_only=read_only))
    try:
        _refuse_unreadable(store, settings)
        yield store
    finally:
        store.close()


@contextmanager
def opened_unchecked_store(url: DatabaseUrl) -> Iterator[Store]:
    """Open the store without reading from it first, and close it at the end of the `with` block.

    This is for a command that makes the tables, or that has already used the store.

    Raises WrongUse if the store cannot be used on this machine.
    """
    store = _open_or_refuse(partial(open_store, url))
    try:
        yield store
    finally:
        store.close()


@contextmanager
def opened_maintenance(
    settings: Settings, *, must_be_readable: bool = True
) -> Iterator[Maintenance]:
    """Open the maintenance of the store, and close it at the end of the `with` block.

    With `must_be_readable`, raises WrongUse if the store is not an orderapi database, and
    DatabaseDamaged if it is damaged.
    """
    maintenance = _open_or_refuse(partial(open_maintenance, settings.database_url))
    try:
        if must_be_readable:
            _refuse_unreadable(maintenance, settings)
        yield maintenance
    finally:
        maintenance.close()


def _open_or_refuse(open_one: Callable[[], T]) -> T:
    """Call `open_one`. Raises WrongUse if the store cannot be used on this machine."""
    try:
        return open_one()
    except StoreRefused as error:
        raise WrongUse(str(error)) from error


def server_at(url: str, token: str | None) -> Target:
    """Return the server at a URL. Each request carries the token.

    Raises WrongUse if the URL is invalid.
    """
    try:
        return Target(url, token)
    except ValueError as error:
        raise WrongUse(f"URL: {error}") from error


def read_token(token_file: Path | None) -> str | None:
    """Return the token from the file or, without a file, from the environment.

    The file `-` is stdin. At a terminal, the command asks for the token and does not show it.

    Raises WrongUse if there is no valid token. The message never contains the token.
    """
    if token_file is None:
        token = os.environ.get("ORDERAPI_TOKEN", "")
        return _check_token(token, "ORDERAPI_TOKEN") if token else None
    if token_file == _STDIN and sys.stdin.isatty():
        return _check_token(click.prompt("Token", hide_input=True, err=True).strip(), "stdin")
    try:
        with click.open_file(str(token_file), "rb") as file:
            content = file.read(_TOKEN_MAX_BYTES + 1)
    except OSError as error:
        raise WrongUse(f"--token-file {token_file.absolute()}: {error.strerror}") from error
    return _check_token(content.decode("latin-1").strip(), f"--token-file {token_file}")


def _refuse_unreadable(store: Store | Auditable, settings: Settings) -> None:
    try:
        store.read(lambda _: None)
    except StoreUnavailable as error:
        failure = DatabaseDamaged if error.kind is StoreFailure.DAMAGED else WrongUse
        reason = _why_no_file_can_be_read(settings.database_url) or error.reason
        raise failure(f"cannot read {settings.database_url}: {reason}") from error


def _why_no_file_can_be_read(url: DatabaseUrl) -> str | None:
    """Say what is wrong with the file of a database, and what to do, or None if it can be read."""
    if not isinstance(url, SqliteUrl):
        return None
    path = url.path.absolute()
    try:
        path.stat()
    except FileNotFoundError as error:
        return f"{path}: {error.strerror}; --database or ORDERAPI_DATABASE_URL names another one"
    except PermissionError:
        is_allowed = False
    except OSError:
        return None  # the store has the reason, for example a name that is too long
    else:
        # The file is not opened, because closing it would give up the locks of SQLite in it.
        is_allowed = os.access(path, os.R_OK)
    if is_allowed:
        return None
    return f"this user may not read {path}; run the command as the user of the service"


def _check_token(token: str, source: str) -> str:
    is_token = token.isascii() and token.isprintable() and 0 < len(token) <= _TOKEN_MAX_BYTES
    if not is_token:
        raise WrongUse(f"{source}: expected a token")
    return token
