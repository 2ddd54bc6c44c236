"""Parses idempotency keys, computes fingerprints, and compares them. All functions are pure."""

import hashlib
from collections.abc import Mapping

from orderapi import fields
from orderapi.documents import encode_sorted
from orderapi.errors import KeyInvalid, KeyMissing, KeyReused
from orderapi.records import Claim, Reply, SavedClaim


def parse_key(header: str | None) -> str:
    """Return the key that an `Idempotency-Key` header names, in either of its two forms.

    Raises KeyMissing if there is no header, and KeyInvalid if it has neither form.
    """
    if header is None:
        raise KeyMissing("This request needs an Idempotency-Key header.")
    try:
        return fields.parse_key(header)
    except fields.FieldInvalid as error:
        raise KeyInvalid(str(error)) from None


def parse_key_parameter(text: str) -> str:
    """Return the key that a query parameter names: quoted as in the header, or the key itself.

    Raises KeyInvalid if the text is not a key.
    """
    try:
        return fields.parse_key_parameter(text)
    except fields.FieldInvalid as error:
        raise KeyInvalid(str(error)) from None


def fingerprint(method: str, path: str, payload: Mapping[str, object]) -> str:
    """Return the SHA-256 of a request's meaning, as lower-case hexadecimal digits.

    The recipe is frozen: the method, a line feed, the path, a line feed, and the canonical JSON
    (RFC 8785) of the members that the client sent, after validation. White space, the order of
    the members and the escapes of the body do not matter. If a field is added to the payload later,
    it may become part of the fingerprint only when a client sends it. Otherwise every saved
    fingerprint would become invalid.
    """
    return hashlib.sha256(f"{method}\n{path}\n{encode_sorted(payload)}".encode()).hexdigest()


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
