"""How a time is stored: RFC 3339 UTC with milliseconds and `Z`, as text."""

import time
from datetime import UTC, datetime


def now_text() -> str:
    """Give the current time as it is stored."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def now_ms() -> int:
    """Give the current Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
