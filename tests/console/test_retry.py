"""The console predicts the answer that the service then gives to a retry."""

import json
import re
from pathlib import Path
from urllib.parse import urlencode

import pytest
from flask.testing import FlaskClient

from orderapi.console.retry import Conflict, New, Refused, Replay, decide
from orderapi.store.sqlite.store import SqliteStore
from orderapi.web.orders import BODY_MAX_BYTES
from tests.support.console_pages import Console, order
from tests.support.rows import counts

LAMP = {"customer_id": "Ann", "item_id": "lamp", "quantity": 2}


def body(**members: object) -> bytes:
    return json.dumps(LAMP | members).encode()


REWRITTEN = b'{"quantity":2,\r\n"item_id":"lamp" ,"customer_id":"\\u0041nn"}'
REPEATED = b'{"quantity":9,"item_id":"lamp","customer_id":"Ann","quantity":2}'

# A header, a body, and the kind of verdict; `used` is a key that has made LAMP.
REQUESTS: dict[str, tuple[str | None, bytes, type]] = {
    "the same": ("used", body(), Replay),
    "the same in quotes": ('"used"', body(), Replay),
    "the same with white space": (" used ", REWRITTEN, Replay),
    "the last of two members counts": ("used", REPEATED, Replay),
    "another quantity": ("used", body(quantity=3), Conflict),
    "another customer": ("used", body(customer_id="ann"), Conflict),
    "a new key": ("new", body(), New),
    "another case": ("Used", body(), New),
    "a key with spaces": ('"used it"', body(), New),
    "no key": (None, body(), Refused),
    "a bad key": ("a,b", body(), Refused),
    "a key that is too long": ("k" * 256, body(), Refused),
    "no json": ("used", b"{", Refused),
    "nothing": ("used", b"", Refused),
    "bytes": ("used", b"\xff", Refused),
    "not a number": ("used", b'{"quantity":NaN}', Refused),
    "too deep": ("used", b"[" * 100, Refused),
    "a list": ("used", b"[]", Refused),
    "a text as quantity": ("used", body(quantity="2"), Refused),
    "a number with a fraction": ("used", body(quantity=2.0), Refused),
    "true": ("used", body(quantity=True), Refused),
    "zero": ("used", body(quantity=0), Refused),
    "too many": ("new", body(quantity=1_000_001), Refused),
    "blank": ("new", body(item_id="  "), Refused),
    "unknown member": ("new", body(colour="red"), Refused),
    "several mistakes": ("new", body(quantity=0, item_id="", colour="red"), Refused),
    "the longest": ("new", body().ljust(BODY_MAX_BYTES), New),
    "too long": ("used", body().ljust(BODY_MAX_BYTES + 1), Refused),
    "too long without a key": (None, body().ljust(BODY_MAX_BYTES + 1), Refused),
}  # fmt: skip


@pytest.mark.parametrize(("key", "sent", "kind"), REQUESTS.values(), ids=REQUESTS)
def test_the_service_answers_as_the_console_has_predicted(
    client: FlaskClient,
    store: SqliteStore,
    database: Path,
    key: str | None,
    sent: bytes,
    kind: type,
) -> None:
    order(store, "used", customer_id="Ann", item_id="lamp", quantity=2)
    before = counts(database)
    verdict = decide(store, "public", key, sent)
    assert type(verdict) is kind
    assert counts(database) == before
    headers = {} if key is None else {"Idempotency-Key": key}
    answer = client.post("/orders", data=sent, headers=headers, content_type="application/json")
    match verdict:
        case Replay(reply=reply):
            assert (answer.status_code, answer.text) == (reply.status, reply.body)
            assert answer.headers["Location"] == f"/orders/{reply.order_id}"
            assert answer.headers["Idempotent-Replayed"] == "true"
        case New(payload=payload):
            assert answer.status_code == 201
            assert "Idempotent-Replayed" not in answer.headers
            assert answer.get_json().items() >= payload.items()
        case Conflict(problem=problem, detail=detail) | Refused(problem=problem, detail=detail):
            document = json.loads(answer.data)
            assert document["type"] == f"/problems/{problem.slug}"
            assert (document["status"], document["detail"]) == (problem.status, detail)
            if isinstance(verdict, Refused):
                assert document.get("errors", {}) == verdict.errors


def ask(console: Console, **query: str) -> str:
    return console.words(f"/retry?{urlencode({'client': 'public'} | query)}")


def test_the_form_is_empty_at_first_and_says_nothing(console: Console) -> None:
    words = console.words("/retry")
    assert "Nothing is sent, and nothing is written." in words
    assert not re.search(r"Replay|Conflict|Refused|New order", words)


def test_a_replay_shows_the_exact_answer(console: Console, store: SqliteStore) -> None:
    reply = order(store, "used", customer_id="Ann", item_id="lamp", quantity=2)
    words = ask(console, key="used", body=body().decode())
    assert "Replay The client gets the first answer again" in words
    assert "HTTP/1.1 201" in words
    assert "Idempotent-Replayed: true" in words
    assert reply.body.strip() in words


def test_a_conflict_shows_the_members_that_differ_side_by_side(
    console: Console, store: SqliteStore
) -> None:
    order(store, "used", customer_id="Ann", item_id="lamp", quantity=2)
    words = ask(console, key="used", body=body(quantity=20, item_id="Lamp").decode())
    assert "Conflict The key belongs to another payload" in words
    assert "409 idempotency-key-reused" in words
    assert "customer_id Ann Ann the same" in words
    assert "item_id lamp Lamp differs" in words
    assert "quantity 2 20 differs" in words


def test_a_new_order_and_a_refusal_are_shown_with_their_reason(
    console: Console, store: SqliteStore
) -> None:
    order(store, "used")
    new = ask(console, key="new", body=body().decode())
    assert "New order The service makes an order" in new
    assert "has never made an order under the key new" in new
    refused = ask(console, key="used", body=body(quantity=0, colour="red").decode())
    assert "Refused Validation failed" in refused
    assert "422 validation-failed" in refused
    assert "quantity Must be greater than or equal to 1" in refused
    assert "colour Unknown field." in refused
    assert "400 idempotency-key-missing" in ask(console, key="", body=body().decode())


def test_a_key_belongs_to_its_client(console: Console, store: SqliteStore) -> None:
    order(store, "used", client_id="shop", customer_id="Ann", item_id="lamp", quantity=2)
    assert "New order" in ask(console, key="used", body=body().decode())
    assert "Replay" in ask(console, client="shop", key="used", body=body().decode())


def test_the_stored_body_can_be_used(console: Console, store: SqliteStore) -> None:
    order(store, "used it", customer_id='Ann "A"', item_id="läm\\p", quantity=2)
    assert "Replay" in ask(console, key='"used it"', use="stored", body="nonsense")
    assert "No body is stored under this key" in ask(console, key="new", use="stored", body="")
    assert "No body is stored under this key" in ask(console, key=",", use="stored", body="")


def test_the_page_of_an_order_leads_to_its_retry(console: Console, store: SqliteStore) -> None:
    made = order(store, "used, twice", client_id="shop", customer_id="<Ann>", item_id="läm\\p")
    page = console.get(f"/orders/{made.order_id}").text
    (link,) = re.findall(r'href="(/retry\?[^"]+)"', page)
    assert "Replay" in console.words(link.replace("&amp;", "&"))
