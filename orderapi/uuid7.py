"""Makes UUIDv7 (RFC 9562 section 5.7) that only grow, from the previous one and the clock."""

import secrets

_RANDOM_BITS = 74
_LOW_BITS = 62
# Two consecutive ids of one millisecond differ by a random number of up to 2**42, so nobody can
# guess the next id. One millisecond has room for 2**32 such steps.
_STEP_BITS = 42


def after(previous: str | None, now_ms: int) -> str:
    """Return a new id, in lower case, that sorts after `previous`.

    `now_ms` is the Unix time in milliseconds. It is not later than the time in `previous` if it is
    the same millisecond, or if the clock was set back. Then the random part of `previous` is
    increased (RFC 9562 section 6.2, method 2). If this part is full, the time of `previous` is
    increased by a millisecond.
    """
    if previous is None:
        return _text(now_ms, secrets.randbits(_RANDOM_BITS))
    previous_ms, previous_counter = _split(int(previous.replace("-", ""), 16))
    if now_ms > previous_ms:
        return _text(now_ms, secrets.randbits(_RANDOM_BITS))
    counter = previous_counter + 1 + secrets.randbits(_STEP_BITS)
    if counter >> _RANDOM_BITS:
        return _text(previous_ms + 1, secrets.randbits(_RANDOM_BITS))
    return _text(previous_ms, counter)


def first_of(ms: int) -> str:
    """Return the text that sorts before every id of a millisecond, and after all ids before it.

    `ms` is the Unix time in milliseconds.
    """
    return _text(ms, 0)


def _split(value: int) -> tuple[int, int]:
    high = value >> 64 & 0xFFF
    return value >> 80, high << _LOW_BITS | value & (1 << _LOW_BITS) - 1


def _text(ms: int, counter: int) -> str:
    high, low = counter >> _LOW_BITS, counter & (1 << _LOW_BITS) - 1
    value = ms << 80 | 0x7 << 76 | high << 64 | 0b10 << _LOW_BITS | low
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
