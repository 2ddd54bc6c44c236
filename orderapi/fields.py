"""The grammar of keys, of Retry-After, of tokens and of secrets, for both ends of a connection.

The service, its client and the receivers of webhooks import this module, so that they all read
these texts in the same way. The module imports nothing of them, so a client does not depend on the
service.
"""

import base64
import email.utils
import re
import string
import zlib
from datetime import UTC

KEY_MAX_CHARS = 255

_OUTER_WHITE_SPACE = " \t"
# One character of a key in the bare form: printable ASCII without space, comma and quote.
BARE_KEY_CHARACTER = r"[!#-+\--~]"
# One character of a key in the quoted form, a string of RFC 8941 section 3.3.3: printable ASCII, in
# which `\"` and `\\` are the only escapes.
QUOTED_KEY_CHARACTER = r'(?:[ !#-\[\]-~]|\\["\\])'
_BARE_KEY = re.compile(rf"{BARE_KEY_CHARACTER}+")
_QUOTED_KEY = re.compile(rf'"({QUOTED_KEY_CHARACTER}*)"')
_ESCAPE = re.compile(r"\\(.)")
_PRINTABLE = re.compile(r"[ -~]+")

_SECONDS = re.compile(r"[0-9]+")

_SECRET_PREFIX = "whsec_"  # noqa: S105 - this is the public beginning of every secret


BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
TOKEN_SECRET_CHARS = 32
_CHECKSUM_CHARS = 6
_TOKEN = re.compile(
    rf"oapi_([0-9A-Za-z]{{{TOKEN_SECRET_CHARS}}})_([0-9A-Za-z]{{{_CHECKSUM_CHARS}}})"
)


class FieldInvalid(ValueError):
    """A text does not follow the grammar. The message says what was expected, without the text."""


def parse_key(header: str) -> str:
    """Return the key that an `Idempotency-Key` header names.

    Two forms name the same key: the bare form (`test-123`), and the structured-field string of
    draft-ietf-httpapi-idempotency-key-header section 2.1 (`"test-123"`).

    Raises FieldInvalid if the header has neither form, or if the key does not have 1 to
    KEY_MAX_CHARS characters after unescaping.
    """
    return _parse_key(
        header,
        _BARE_KEY,
        f"Exactly one Idempotency-Key header is needed. Its key is 1 to {KEY_MAX_CHARS} printable "
        'ASCII characters without space, comma or quote, or it is a quoted string ("...").',
    )


def parse_key_parameter(text: str) -> str:
    """Return the key that a query parameter names: quoted as in the header, or the key itself.

    Raises FieldInvalid if the text has neither form, or if the key has a wrong length.
    """
    return _parse_key(
        text,
        _PRINTABLE,
        f"An idempotency key is 1 to {KEY_MAX_CHARS} printable ASCII characters.",
    )


def format_key(key: str) -> str:
    """Return the `Idempotency-Key` header that names a key, in the bare form if possible.

    Raises FieldInvalid if the key does not have 1 to KEY_MAX_CHARS characters of printable ASCII.
    """
    quoted = quote_key(key)
    return key if _BARE_KEY.fullmatch(key) else quoted


def quote_key(key: str) -> str:
    r"""Return a key as a structured-field string, with the escapes `\"` and `\\`.

    Raises FieldInvalid if the key does not have 1 to KEY_MAX_CHARS characters of printable ASCII.
    """
    if len(key) > KEY_MAX_CHARS or not _PRINTABLE.fullmatch(key):
        raise FieldInvalid(f"expected 1 to {KEY_MAX_CHARS} characters of printable ASCII")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def retry_after_s(retry_after: str | None, date: str | None, now_s: float) -> float:
    """Return how many seconds a `Retry-After` header asks the client to wait.

    The header contains a number of seconds or a date (RFC 9110 section 10.2.3). A date is compared
    with `date`, the `Date` header of the same answer, because the clocks of both machines may
    differ. Without a valid `date`, it is compared with `now_s`, the time of this machine in seconds
    since 1970.

    The result is 0 if there is no header, or if the header is not valid. It may be infinite.
    """
    text = (retry_after or "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    until_s = _http_date_s(text)
    if until_s is None:
        return 0.0
    answered_s = _http_date_s((date or "").strip())
    return max(0.0, until_s - (now_s if answered_s is None else answered_s))


def webhook_secret_key(secret: str) -> bytes:
    """Return the signing key in a webhook secret: `whsec_` and base64 (Standard Webhooks 1.0).

    Raises FieldInvalid if the secret has another form or contains no key.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except ValueError:
        key = b""
    if not key or not secret.startswith(_SECRET_PREFIX):
        raise FieldInvalid("expected whsec_ and base64")
    return key


def format_token(secret: str) -> str:
    """Return the bearer token for a secret of TOKEN_SECRET_CHARS base62 characters.

    A token is `oapi_<secret>_<checksum>`. The checksum is the CRC-32 of the secret, in base62
    digits. Programs that search source code for secrets recognise the prefix and the checksum.
    """
    return f"oapi_{secret}_{_token_checksum(secret)}"


def is_token(text: str) -> bool:
    """Return whether a text has the form of a bearer token, and its checksum is right."""
    match = _TOKEN.fullmatch(text)
    return match is not None and _token_checksum(match[1]) == match[2]


def _token_checksum(secret: str) -> str:
    value, digits = zlib.crc32(secret.encode()), ""
    for _ in range(_CHECKSUM_CHARS):
        value, digit = divmod(value, len(BASE62))
        digits = BASE62[digit] + digits
    return digits


def _parse_key(text: str, unquoted: re.Pattern[str], otherwise: str) -> str:
    text = text.strip(_OUTER_WHITE_SPACE)
    if text.startswith('"'):
        return _within_limit(_unquote(text))
    if not unquoted.fullmatch(text):
        raise FieldInvalid(otherwise)
    return _within_limit(text)


def _unquote(text: str) -> str:
    quoted = _QUOTED_KEY.fullmatch(text)
    if not quoted or not quoted[1]:
        raise FieldInvalid(
            "A quoted Idempotency-Key is one structured-field string of printable ASCII, "
            "with nothing after the closing quote."
        )
    return _ESCAPE.sub(r"\1", quoted[1])


def _within_limit(key: str) -> str:
    if len(key) > KEY_MAX_CHARS:
        raise FieldInvalid(f"An Idempotency-Key has at most {KEY_MAX_CHARS} characters.")
    return key


def _http_date_s(text: str) -> float | None:
    """Return an HTTP date, in any of its forms, in seconds since 1970. None if it is invalid."""
    try:
        date = email.utils.parsedate_to_datetime(text)
        # HTTP dates are in UTC. The third form, that of asctime(), does not name a zone.
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return aware.astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        return None
