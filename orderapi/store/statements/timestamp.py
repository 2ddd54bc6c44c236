"""How a time is stored: RFC 3339 UTC with milliseconds and `Z`, as text."""

import time
from datetime import UTC, datetime


def now_text() -> str:
    """Give the current time as it is stored."""
    return text_of(datetime.now(UTC))


def text_of(moment: datetime) -> str:
    """Give a time in UTC as it is stored."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_ms() -> int:
    """Give the current Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
