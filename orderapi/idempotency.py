"""Idempotency keys and fingerprints: pure functions, no I/O."""

import hashlib
import json
import re
from collections.abc import Mapping

from orderapi.errors import KeyInvalid, KeyMissing, KeyReused
from orderapi.records import Claim, Reply, SavedClaim

KEY_MAX_CHARS = 255

_OUTER_WHITE_SPACE = " \t"
# Printable ASCII without space, comma and quote.
_BARE_KEY = re.compile(r"[!#-+\--~]+")
# A string of RFC 8941 section 3.3.3: printable ASCII, `\"` and `\\` the only escapes.
_QUOTED_KEY = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_ESCAPE = re.compile(r"\\(.)")
_PRINTABLE = re.compile(r"[ -~]+")
# Made once, where json.dumps would make a new one for every payload.
_canonical = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def parse_key(header: str | None) -> str:
    """Give the key that an `Idempotency-Key` header names.

    Two forms name the same key: the bare one (`test-123`) and the structured-field string of
    draft-ietf-httpapi-idempotency-key-header section 2.1 (`"test-123"`).

    Raises KeyMissing without a header, KeyInvalid if it has neither form or not 1 to 255
    characters after unescaping.
    """
    if header is None:
        raise KeyMissing("This request needs an Idempotency-Key header.")
    return _parse(
        header,
        _BARE_KEY,
        "An Idempotency-Key is 1 to 255 printable ASCII characters without space, comma or "
        'quote, or the same as a quoted string ("...").',
    )


def parse_key_parameter(text: str) -> str:
    """Give the key that a query parameter names: quoted as in the header, or the key itself.

    Raises KeyInvalid as parse_key does.
    """
    return _parse(text, _PRINTABLE, "An idempotency key is 1 to 255 printable ASCII characters.")


def _parse(text: str, unquoted: re.Pattern[str], otherwise: str) -> str:
    text = text.strip(_OUTER_WHITE_SPACE)
    if text.startswith('"'):
        return _within_limit(_unquote(text))
    if not unquoted.fullmatch(text):
        raise KeyInvalid(otherwise)
    return _within_limit(text)


def _unquote(text: str) -> str:
    quoted = _QUOTED_KEY.fullmatch(text)
    if not quoted or not quoted[1]:
        raise KeyInvalid(
            "A quoted Idempotency-Key is one structured-field string of printable ASCII, "
            "with nothing after the closing quote."
        )
    return _ESCAPE.sub(r"\1", quoted[1])


def _within_limit(key: str) -> str:
    if len(key) > KEY_MAX_CHARS:
        raise KeyInvalid(f"An Idempotency-Key has at most {KEY_MAX_CHARS} characters.")
    return key


def fingerprint(method: str, path: str, payload: Mapping[str, object]) -> str:
    """Return the SHA-256 of a request's meaning, as lower-case hexadecimal digits.

    The recipe is frozen: the method, a line feed, the path, a line feed, and the canonical JSON
    (RFC 8785) of the members that the client sent, after validation. White space, the order of
    the members and the escapes of the body do not matter. If a field is added to the payload later,
    it may become part of the fingerprint only when a client sends it. Otherwise every saved
    fingerprint would become invalid.
    """
    return hashlib.sha256(f"{method}\n{path}\n{_canonical(payload)}".encode()).hexdigest()


def replay(saved: SavedClaim, claim: Claim) -> Reply:
    """Return the first answer to a claim again.

    Raises KeyReused if the key was first used for another payload.
    """
    if saved.fingerprint != claim.fingerprint:
        raise KeyReused("This Idempotency-Key was first used for another payload.")
    return Reply(saved.status, saved.body, saved.order_id, replayed=True)


def key_digest(key: str) -> str:
    """Return the short hash of a key that logs contain: 12 hexadecimal digits of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:12]
