"""Answers that stand in for a right one, and what a client sent."""

import json
from typing import Any
from uuid import uuid4

from orderapi.ops.target import ServerAnswer
from tests.support.front import Front, Tamper


class Always(dict[int, Tamper]):
    """The same for every request."""

    def __init__(self, tamper: Tamper) -> None:
        super().__init__()
        self.tamper = tamper

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: int) -> Tamper:
        return self.tamper


def said(status: int, body: bytes = b"", **headers: str) -> Tamper:
    """Put an answer in the right one's place; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: ServerAnswer(status, named, body)


def problem(status: int, **members: Any) -> Tamper:
    """Put a problem document in the right answer's place."""
    body = json.dumps({"type": "/problems/x", "title": "X", "status": status, **members}).encode()
    return said(status, body, content_type="application/problem+json")


def keys(front: Front) -> list[str]:
    """Give the keys that were sent, in order."""
    return [headers["Idempotency-Key"] for _, _, headers in front.requests]


def customer() -> str:
    """Give a customer that no other test has."""
    return f"customer-{uuid4()}"
