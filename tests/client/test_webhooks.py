"""`verify` returns the event of a genuine delivery, and refuses any other one in the same way."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import Message
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook
from werkzeug.datastructures import Headers

from orderapi.webhooks import NotVerified, verify

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four b").decode()
OTHER_SECRET = "whsec_" + base64.b64encode(b"another of that length..").decode()
EVENT = {"specversion": "1.0", "id": "event-1", "data": {"item_id": "Ünïcode"}}
BODY = json.dumps(EVENT, ensure_ascii=False).encode()


def signed(
    body: bytes = BODY, secret: str = SECRET, moment: datetime | None = None
) -> dict[str, str]:
    """Return the headers of a delivery that was signed at a moment. The default is now."""
    moment = moment or datetime.now(UTC)
    return {
        "webhook-id": "event-1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": Webhook(secret).sign("event-1", moment, body.decode()),
    }


def test_a_genuine_delivery_returns_its_event() -> None:
    assert verify(BODY, signed(), SECRET) == EVENT


def test_headers_may_be_those_of_any_framework() -> None:
    message = Message()
    for name, value in signed().items():
        message[name.title()] = value
    assert verify(BODY, message, SECRET) == EVENT
    assert verify(BODY, Headers(signed()), SECRET) == EVENT


def test_one_signature_of_several_is_enough_while_secrets_are_rotated() -> None:
    # Both signatures must have the same time, because there is one header for it.
    now = datetime.now(UTC)
    headers = signed(moment=now)
    other = signed(secret=OTHER_SECRET, moment=now)["webhook-signature"]
    both = headers | {"webhook-signature": f"{other} {headers['webhook-signature']}"}
    assert verify(BODY, both, SECRET) == verify(BODY, both, OTHER_SECRET) == EVENT


@pytest.mark.parametrize(
    "entry",
    ["v1", "v1,***", "v1,", "v1,AAAA", "v1a,AAAA", "v2,x,y", ",", "\u00e9", "v1,AA==,", "=" * 9],
)
def test_an_entry_that_cannot_be_read_does_not_hide_a_right_signature(entry: str) -> None:
    """Standard Webhooks may add other schemes. A receiver ignores a scheme it does not know."""
    # The next signature may be made in another second.
    headers = signed()
    right = headers["webhook-signature"]
    for signatures in (f"{entry} {right}", f"{right} {entry}", f"{entry}  {right} {entry}"):
        assert verify(BODY, headers | {"webhook-signature": signatures}, SECRET) == EVENT
    with pytest.raises(NotVerified):
        verify(BODY, signed() | {"webhook-signature": entry}, SECRET)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, bytes.decode])
def test_the_body_may_be_any_bytes_or_text(kind: Callable[[bytes], bytes]) -> None:
    assert verify(kind(BODY), signed(), SECRET) == EVENT


def test_headers_may_be_bytes() -> None:
    raw = {name.title().encode(): value.encode() for name, value in signed().items()}
    assert verify(BODY, raw, SECRET) == EVENT


@pytest.mark.parametrize(
    ("body", "headers", "secret", "words"),
    [
        (None, signed, SECRET, "body: expected bytes or str, not NoneType"),
        ({"id": "event-1"}, signed, SECRET, "body: expected bytes or str, not dict"),
        (BODY, lambda: [("webhook-id", "1")], SECRET, "headers: expected a mapping, not list"),
        (
            BODY,
            lambda: signed() | {"webhook-id": 1},
            SECRET,
            "str or bytes for webhook-id, not int",
        ),
        (BODY, lambda: {"webhook-signature": ["x"]}, SECRET, "for webhook-signature, not list"),
        (BODY, lambda: {None: "x"}, SECRET, "for the name of a header, not NoneType"),
        (BODY, signed, None, "secret: expected str, not NoneType"),
        (BODY, signed, SECRET.encode(), "secret: expected str, not bytes"),
    ],
)
def test_an_argument_of_another_type_is_a_mistake_of_the_receiver(
    body: Any, headers: Callable[[], Any], secret: Any, words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        verify(body, headers(), secret)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_a_header_that_was_sent_twice_is_not_genuine(name: str) -> None:
    """The receiver might read the other value, and accept a repeated delivery under a new id."""
    for order in (1, -1):
        pairs = [(name, signed()[name]), (name, "other")][::order]
        others = [(other, value) for other, value in signed().items() if other != name]
        with pytest.raises(NotVerified, match=f"{name} was sent twice"):
            verify(BODY, Headers([*pairs, *others]), SECRET)


Delivery = tuple[bytes, dict[str, str]]

NOT_GENUINE: dict[str, Callable[[], Delivery]] = {
    "another body": lambda: (BODY + b" ", signed()),
    "another id": lambda: (BODY, signed() | {"webhook-id": "event-2"}),
    "another time": lambda: (BODY, signed() | {"webhook-timestamp": str(int(time.time()) - 9)}),
    "another secret": lambda: (BODY, signed(secret=OTHER_SECRET)),
    "too old": lambda: (BODY, signed(moment=datetime.now(UTC) - timedelta(minutes=6))),
    "from the future": lambda: (BODY, signed(moment=datetime.now(UTC) + timedelta(minutes=6))),
    "no time": lambda: (BODY, signed() | {"webhook-timestamp": "nan"}),
    "half a signature": lambda: (BODY, signed() | {"webhook-signature": "v1"}),
    "no base64": lambda: (BODY, signed() | {"webhook-signature": "v1,***"}),
    "another scheme": lambda: (BODY, signed() | {"webhook-signature": "v2,AAAA"}),
    "not signed": lambda: (BODY, {}),
    "not UTF-8": lambda: (b"\xff", signed()),
    "signed, but no event": lambda: (b"[]", signed(b"[]")),
    "signed, but no JSON": lambda: (b"{", signed(b"{")),
}


@pytest.mark.parametrize("delivery", NOT_GENUINE.values(), ids=NOT_GENUINE)
def test_a_delivery_that_is_not_genuine_is_refused(delivery: Callable[[], Delivery]) -> None:
    body, headers = delivery()
    with pytest.raises(NotVerified):
        verify(body, headers, SECRET)


@given(
    body=st.binary(),
    headers=st.fixed_dictionaries({name: st.text() for name in signed()}),
)
def test_any_other_delivery_is_refused_in_the_same_way(
    body: bytes, headers: dict[str, str]
) -> None:
    with pytest.raises(NotVerified):
        verify(body, headers, SECRET)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_***", SECRET.removeprefix("whsec_")])
def test_a_text_that_is_no_secret_is_a_mistake_of_the_receiver(secret: str) -> None:
    with pytest.raises(ValueError, match="secret: expected whsec_ and base64"):
        verify(BODY, signed(), secret)


def test_without_its_library_the_import_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['standardwebhooks'] = None; import orderapi.webhooks"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert failed.stderr.splitlines()[-1] == (
        "ImportError: orderapi.webhooks needs standardwebhooks: pip install 'orderapi[webhooks]'"
    )
