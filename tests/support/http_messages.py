"""HTTP messages as tests write and read them: raw requests, answers, problem documents."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.support.response_schemas import check_schema
from tests.support.running import ORDER, Answer, Server

JSON_TYPE = "Content-Type: application/json"

# By slug: the status, `retryable` and `key_action`, as in the table of the contract.
PROBLEMS = {
    "bad-request": (400, False, "reuse"),
    "idempotency-key-missing": (400, False, "none"),
    "idempotency-key-invalid": (400, False, "none"),
    "malformed-json": (400, False, "reuse"),
    "unauthorized": (401, False, "none"),
    "insufficient-scope": (403, False, "none"),
    "not-found": (404, False, "none"),
    "method-not-allowed": (405, False, "none"),
    "idempotency-key-reused": (409, False, "rotate"),
    "body-too-large": (413, False, "reuse"),
    "unsupported-media-type": (415, False, "reuse"),
    "validation-failed": (422, False, "reuse"),
    "rate-limited": (429, True, "reuse"),
    "simulated-failure": (500, True, "reuse"),
    "internal-error": (500, True, "reuse"),
    "bad-gateway": (502, True, "reuse"),
    "store-unavailable": (503, True, "reuse"),
    "gateway-timeout": (504, True, "reuse"),
}
_MEMBERS = {"type", "title", "status", "detail", "request_id", "retryable", "key_action"}
_NEVER_SHOWN = ("Traceback", "sqlite", "SELECT ", "INSERT ", ".py", "site-packages", "/tmp/")


def raw_request(method: str, target: str, *headers: str, body: bytes = b"") -> bytes:
    """Write an HTTP/1.1 request. A body gets a Content-Length unless the headers frame it."""
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", *headers]
    framing = ("content-length", "transfer-encoding")
    if body and not any(header.lower().startswith(framing) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def raw_order(key: str, body: bytes, *headers: str) -> bytes:
    """Write a `POST /orders` with a key."""
    return raw_request("POST", "/orders", JSON_TYPE, f"Idempotency-Key: {key}", *headers, body=body)


def chunk(data: bytes) -> bytes:
    """Write one chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def answers(received: bytes) -> list[Answer]:
    """Read all the answers that came over one connection, none of them to a HEAD."""
    found = []
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        length = int(headers.get("content-length", 0))
        found.append(Answer(int(status_line.split()[1]), headers, rest[:length]))
        received = rest[length:]
    return found


def one_answer(received: bytes) -> Answer:
    """Read the only answer of a connection."""
    (answer,) = answers(received)
    return answer


def from_client(response: TestResponse) -> Answer:
    """Convert an answer of Flask's test client, and assert that its JSON matches its schema."""
    check_schema(response)
    headers = {name.lower(): value for name, value in response.headers.items()}
    return Answer(response.status_code, headers, response.data)


def ask(client: FlaskClient, target: str, method: str = "GET", **headers: str) -> Answer:
    """Send a request without a body; underscores in header names stand for hyphens."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    return from_client(client.open(target, method=method, headers=sent))


def order(client: FlaskClient, key: str | None, payload: Any = ORDER, **headers: str) -> Answer:
    """Send `POST /orders`. A payload of bytes is sent unchanged, and any other one as JSON."""
    sent = {"Content-Type": "application/json"}
    if key is not None:
        sent["Idempotency-Key"] = key
    sent |= {name.replace("_", "-"): value for name, value in headers.items()}
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return from_client(client.post("/orders", data=body, headers=sent))


def check_problem(answer: Answer, slug: str) -> dict[str, Any]:
    """Assert that an answer is this problem document, complete and without internal details."""
    status, retryable, key_action = PROBLEMS[slug]
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json
    assert document["type"] == f"/problems/{slug}"
    assert answer.status == document["status"] == status
    assert (document["retryable"], document["key_action"]) == (retryable, key_action)
    assert document["request_id"] == answer.headers["x-request-id"]
    assert document["title"]
    assert document["detail"]
    assert set(document) == _MEMBERS | ({"errors"} if slug == "validation-failed" else set())
    for secret in _NEVER_SHOWN:
        assert secret not in answer.body.decode()
    return document


@contextmanager
def stores_nothing(server: Server) -> Iterator[None]:
    """Assert that a server stores nothing during the block, and serves after it."""
    before = server.counts()
    yield
    assert server.counts() == before
    assert server.request("GET", "/healthz").status == 200
