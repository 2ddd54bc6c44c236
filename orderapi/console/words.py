"""Formats times, numbers, ids and untrusted texts for the pages of the console."""

import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from flask import Flask
from markupsafe import Markup, escape

# A long id is shortened to its first and its last characters. The page still contains the whole id,
# so that it can be copied.
_HEAD_CHARS, _TAIL_CHARS = 8, 4
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))
_DAYS_MAX = 60
_DECIMAL_MAX_S = 60
_UNIT_BYTES = 1024
# A character that is invisible, or that moves other characters, is shown as its code point. The
# joiners of emoji are left as they are, because an emoji may consist of several characters.
_HIDDEN_CATEGORIES = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
_EMOJI_JOINERS = "\u200d\ufe0f"


def register(app: Flask) -> None:
    """Give the templates of `app` these functions as filters."""
    app.jinja_env.filters.update(
        text=text,
        short_id=short_id,
        number=number,
        size=size,
        ago=ago,
        exact=exact,
        duration=duration,
        messages=messages,
    )


def text(value: object, *, with_lines: bool = False) -> Markup:
    """Return a text of a client as HTML in which hidden characters are visible.

    The text is in a `bdi` element, so it cannot change the writing direction of the text around it.
    With `with_lines`, its line feeds are kept.
    """
    shown = "".join(
        character if with_lines and character == "\n" else _visible(character)
        for character in str(value)
    )
    return Markup('<bdi class="text">{}</bdi>').format(Markup(shown))  # noqa: S704 - each character is escaped


def short_id(value: object) -> Markup:
    """Return the ends of an id as HTML. If a user selects and copies it, the whole id is copied."""
    whole = str(value)
    if len(whole) <= _HEAD_CHARS + _TAIL_CHARS + 1 or not whole.isascii():
        return Markup("<code>{}</code>").format(text(whole))
    head, middle, tail = whole[:_HEAD_CHARS], whole[_HEAD_CHARS:-_TAIL_CHARS], whole[-_TAIL_CHARS:]
    return Markup(
        '<code class="id" title="{}">{}<span class="id-middle">{}</span>{}</code>'
    ).format(whole, head, middle, tail)


def number(value: int) -> str:
    """Write an integer with separators."""
    return f"{value:,}"


def size(bytes_: float) -> str:
    """Write a number of bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if bytes_ < _UNIT_BYTES:
            return f"{bytes_:,.0f} {unit}" if unit == "B" else f"{bytes_:,.1f} {unit}"
        bytes_ /= _UNIT_BYTES
    return f"{bytes_:,.1f} GiB"


def ago(value: object, now: datetime | None = None) -> Markup:
    """Return a stored time relative to now, as HTML. A tooltip has the exact time."""
    at = _time(value)
    if at is None:
        return text(value)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        value, exact(value), _relative((now or datetime.now(UTC)) - at, at)
    )


def exact(value: object) -> str:
    """Write a stored time for people, to the millisecond and in UTC."""
    at = _time(value)
    return str(value) if at is None else f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03} UTC"


def duration(took_ms: int) -> str:
    """Write a duration for people. A duration below a minute has one decimal."""
    seconds = took_ms / 1000
    return f"{seconds:.1f} seconds" if seconds < _DECIMAL_MAX_S else _span(int(seconds))


def messages(value: object) -> str:
    """Write the messages of a schema about one member, which may be nested, as sentences."""
    if isinstance(value, Mapping):
        return " ".join(map(messages, value.values()))
    if isinstance(value, list | tuple):
        return " ".join(map(messages, value))
    return str(value)


def _relative(age: timedelta, at: datetime) -> str:
    seconds = int(age.total_seconds())
    if seconds < -1:
        return f"in {_span(-seconds)}"
    if seconds < 1:
        return "just now"
    if age.days > _DAYS_MAX:
        return f"{at:%Y-%m-%d}"
    return f"{_span(seconds)} ago"


def _span(seconds: int) -> str:
    name, size = next(unit for unit in _UNITS if seconds >= unit[1])
    amount = seconds // size
    return f"{amount} {name}{'s' * (amount != 1)}"


def _time(value: object) -> datetime | None:
    """Return a stored time, or None if damage has made it something else."""
    try:
        at = datetime.fromisoformat(value)  # type: ignore[arg-type]  # the error says so
    except (TypeError, ValueError):
        return None
    return at.astimezone(UTC) if at.tzinfo else None


def _visible(character: str) -> Markup:
    if not _is_hidden(character):
        return escape(character)
    return Markup('<span class="hidden-character">U+{:04X}</span>').format(ord(character))


def _is_hidden(character: str) -> bool:
    is_hidden = unicodedata.category(character) in _HIDDEN_CATEGORIES
    return is_hidden and character not in _EMOJI_JOINERS
