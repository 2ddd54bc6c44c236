"""Reads and checks the settings of the service and of its commands, once at the start."""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from orderapi import fields
from orderapi.errors import SettingsInvalid

PREFIX = "ORDERAPI_"
DATABASE_URL = PREFIX + "DATABASE_URL"
LOG_LEVELS = ("debug", "info", "warning", "error")

# A process uses one core at a time. With more than four, the single writer is the bottleneck.
_DEFAULT_WORKERS_MAX = 4
# Settings of release 0.1.0 that have no meaning now.
_REMOVED = ("WORKER_CLASS", "THREADS")
# unix(7) allows 108 bytes, which include a NUL at the end.
_SOCKET_PATH_MAX_BYTES = 107
_BIND = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(?P<port>[0-9]{1,5})")
# Reserved characters of a user, a password or a database are percent-encoded in a URL.
_POSTGRES_URL = re.compile(
    r"postgres(?:ql)?://(?:(?P<user>[^:@/?]*)(?::[^@/?]*)?@)?(?P<hosts>[^@/?]*)"
    r"(?P<database>/[^@/?]*)?(?:\?[^@]*)?"
)


@dataclass(frozen=True, slots=True)
class SqliteUrl:
    """A store in one SQLite file."""

    path: Path

    def __str__(self) -> str:
        """Return the URL as text, as it is written in ORDERAPI_DATABASE_URL."""
        return f"sqlite:///{self.path}"


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """A store in a database of PostgreSQL.

    `text` is the URL as it was given, for libpq. It may contain a password.
    """

    text: str = field(repr=False)

    def __str__(self) -> str:
        """Return the URL as text, without a password and without parameters.

        If the parts of the URL cannot be recognised, the whole URL is hidden, because any part of
        it may be the password.
        """
        parts = _POSTGRES_URL.fullmatch(self.text)
        if parts is None:
            return "postgresql://..."
        user = f"{parts['user']}@" if parts["user"] is not None else ""
        return f"postgresql://{user}{parts['hosts']}{parts['database'] or ''}"


# The parsed URL of a store. Its type says which engine opens the store.
DatabaseUrl = SqliteUrl | PostgresUrl


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings. `read_settings` makes this object, and checks each value."""

    database_url: DatabaseUrl
    bind: str
    workers: int
    auth: str
    fault_injection: bool
    log_level: str
    # These two are empty if they are not set. Both may contain a secret.
    webhook_url: str = field(repr=False)
    webhook_secret: str = field(repr=False)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Read every `ORDERAPI_*` variable.

    Raises SettingsInvalid if a name is unknown or a value is invalid. The message names the
    variable.
    """
    for name in sorted(environ):
        if name.startswith(PREFIX) and name.removeprefix(PREFIX) in _REMOVED:
            raise SettingsInvalid(
                name,
                "this setting is gone, because there is only one worker class now; remove it",
            )
        if name.startswith(PREFIX) and name not in _KNOWN:
            raise SettingsInvalid(name, "there is no such setting; correct or remove it")
    return Settings(
        database_url=_database_url(environ),
        bind=_bind(environ),
        workers=_integer(environ, "WORKERS", _default_workers(), 1, 64),
        auth=_choice(environ, "AUTH", "off", ("off", "required")),
        fault_injection=_choice(environ, "FAULT_INJECTION", "on", ("on", "off")) == "on",
        log_level=_choice(environ, "LOG_LEVEL", "info", LOG_LEVELS),
        webhook_url=_optional(environ, "WEBHOOK_URL", "an http:// or https:// URL", _is_http_url),
        webhook_secret=_optional(
            environ, "WEBHOOK_SECRET", "whsec_ and base64", _is_webhook_secret
        ),
    )


def parse_database_url(url: str) -> DatabaseUrl:
    """Parse the URL of a store. A path after `sqlite:///` is relative to the working directory.

    Raises SettingsInvalid if no engine has URLs of this form. libpq itself parses the URL of a
    database of PostgreSQL, when the store is opened (postgresql.org/docs/current/
    libpq-connect.html, "Connection URIs").
    """
    if url.startswith(("postgresql://", "postgres://")) and _is_one_word(url):
        return PostgresUrl(url)
    scheme, _, path = url.partition(":///")
    is_file = path and not path.endswith("/") and path != ":memory:"
    if scheme != "sqlite" or not is_file or set(path) & set("?#\0"):
        # The value may contain a password, so the message does not repeat it.
        raise SettingsInvalid(
            DATABASE_URL,
            "expected sqlite:///file, sqlite:////absolute/file or postgresql://user@host/database",
        )
    return SqliteUrl(Path(path))


def _default_workers() -> int:
    return max(2, min(_DEFAULT_WORKERS_MAX, len(os.sched_getaffinity(0))))


def _database_url(environ: Mapping[str, str]) -> DatabaseUrl:
    return parse_database_url(environ.get(DATABASE_URL, "sqlite:///orders.db"))


def _bind(environ: Mapping[str, str]) -> str:
    value = environ.get(PREFIX + "BIND", "127.0.0.1:8000")
    if value.startswith("unix:/"):
        if len(os.fsencode(value.removeprefix("unix:"))) > _SOCKET_PATH_MAX_BYTES:
            raise _bad("BIND", value, f"a path of at most {_SOCKET_PATH_MAX_BYTES} bytes")
        return value
    match = _BIND.fullmatch(value)
    if not match or int(match["port"]) > 65_535:
        raise _bad("BIND", value, "host:port with a port up to 65535, or unix:/path")
    return value


def _integer(
    environ: Mapping[str, str], name: str, default: int, minimum: int, maximum: int
) -> int:
    value = environ.get(PREFIX + name)
    if value is None:
        return default
    if not re.fullmatch(r"[0-9]{1,6}", value) or not minimum <= int(value) <= maximum:
        raise _bad(name, value, f"an integer from {minimum} to {maximum}")
    return int(value)


def _choice(environ: Mapping[str, str], name: str, default: str, choices: tuple[str, ...]) -> str:
    value = environ.get(PREFIX + name, default)
    if value not in choices:
        raise _bad(name, value, " or ".join(choices))
    return value


def _optional(
    environ: Mapping[str, str], name: str, expected: str, is_valid: Callable[[str], bool]
) -> str:
    value = environ.get(PREFIX + name, "")
    if value and not is_valid(value):
        # The value may be a secret, so the message does not repeat it.
        raise SettingsInvalid(PREFIX + name, f"expected {expected}")
    return value


def _is_http_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port  # raises ValueError if this is not a port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and _is_one_word(value)


def _is_one_word(value: str) -> bool:
    return value.isprintable() and not any(char.isspace() for char in value)


def _is_webhook_secret(value: str) -> bool:
    try:
        return bool(fields.webhook_secret_key(value))
    except fields.FieldInvalid:
        return False


def _bad(name: str, value: str, expected: str) -> SettingsInvalid:
    return SettingsInvalid(PREFIX + name, f"expected {expected}, not {value[:80]!r}")


# Client commands read these two. The server ignores them.
_FOR_COMMANDS = ("URL", "TOKEN")
_KNOWN = {PREFIX + name.upper() for name in (*Settings.__slots__, *_FOR_COMMANDS)}
