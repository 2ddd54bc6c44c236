"""Answers that replace a right one, and what a client sent."""

import json
from typing import Any
from uuid import uuid4

from orderapi.ops.target import ServerAnswer
from tests.support.front import Front, Tamper


class Always(dict[int, Tamper]):
    """Replace the answer to every request in the same way."""

    def __init__(self, tamper: Tamper) -> None:
        super().__init__()
        self.tamper = tamper

    def __contains__(self, _: object) -> bool:
        return True

    def __getitem__(self, _: int) -> Tamper:
        return self.tamper


def said(status: int, body: bytes = b"", **headers: str) -> Tamper:
    """Replace the right answer; underscores in header names stand for hyphens."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda _: ServerAnswer(status, named, body)


def problem(status: int, **members: Any) -> Tamper:
    """Replace the right answer by a problem document."""
    body = json.dumps({"type": "/problems/x", "title": "X", "status": status, **members}).encode()
    return said(status, body, content_type="application/problem+json")


def keys(front: Front) -> list[str]:
    """Return the keys that were sent, in order."""
    return [headers["Idempotency-Key"] for _, _, headers in front.requests]


def customer() -> str:
    """Return a customer that no other test has."""
    return f"customer-{uuid4()}"
