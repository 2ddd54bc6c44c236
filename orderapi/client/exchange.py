"""One attempt: a request, its answer, within a bound of time and length; all that knows httpx2."""

import contextvars
import json
import queue
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from orderapi.client.failures import AnswerLost

# The longest answer, a page of 1,000 events, is under 1 MiB.
BODY_MOST_BYTES = 4 * 1024 * 1024
# More would not fit into the header fields that servers take.
_TOKEN_MOST_CHARS = 4096


@dataclass(frozen=True, slots=True)
class Request:
    """What every attempt of a call sends, byte for byte; `key` is the unescaped one, for errors."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, its headers by any case of their names, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON document in the body; None if there is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Exchange:
    """A service at `base_url`, asked on behalf of `token`. For many threads at once.

    Redirects are not followed: neither the key nor the token goes where it was not sent.
    Raises ValueError for a URL or a token that cannot be one; no message repeats the token.
    """

    def __init__(self, base_url: str, token: str | None) -> None:
        self._base_url = _checked_url(base_url)
        # Compressed answers could grow on reading; ours are short.
        headers = {"Accept-Encoding": "identity", "User-Agent": "orderapi-client"}
        if token is not None:
            headers["Authorization"] = f"Bearer {_checked_token(token)}"
        # As many connections as there are threads: none waits here for another's answer.
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx2.Client(headers=headers, limits=limits, follow_redirects=False)

    def __repr__(self) -> str:
        return f"Exchange({self._base_url!r})"

    def send(self, request: Request, timeout_s: float) -> Answer:
        """Send a request and give its whole answer.

        Raises AnswerLost if there is none within `timeout_s` seconds. The attempt may then still be
        under way, and reach the service.
        """
        outcome: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()
        context = contextvars.copy_context()

        def attempt() -> None:
            try:
                outcome.put(context.run(self._exchange, request, timeout_s))
            except Exception as error:
                outcome.put(error)

        # httpx2 bounds each look at the socket. Name look-ups, several addresses and answers that
        # drip in are bounded here.
        threading.Thread(target=attempt, name="orderapi-client", daemon=True).start()
        try:
            result = outcome.get(timeout=timeout_s)
        except queue.Empty:
            result = AnswerLost(f"no answer within {timeout_s:.3g} s")
        if isinstance(result, httpx2.HTTPError):
            raise AnswerLost(self._hide_token(str(result) or type(result).__name__)) from None
        if isinstance(result, Exception):
            raise result
        return result

    def problem(self, answer: Answer) -> Mapping[str, Any]:
        """Give the problem document (RFC 9457) in an answer; empty if there is none.

        The token is not in it, should a server have sent it back.
        """
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        document = answer.document if media_type == "application/problem+json" else None
        return self._hide_token(document) if isinstance(document, dict) else {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _exchange(self, request: Request, timeout_s: float) -> Answer:
        give_up_at = time.monotonic() + timeout_s
        url = self._base_url + request.path
        with self._http.stream(
            request.method,
            url,
            params=request.query,
            headers=request.headers,
            content=request.body,
            timeout=timeout_s,
        ) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > BODY_MOST_BYTES or time.monotonic() > give_up_at:
                    raise AnswerLost("the answer is too long, or too slow")
            return Answer(response.status_code, response.headers, bytes(body))

    def _hide_token(self, value: Any) -> Any:
        """Give a JSON value with a mark in the token's place; names stay as they are."""
        if isinstance(value, dict):
            return {name: self._hide_token(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._hide_token(member) for member in value]
        # httpx2 shows this header to nobody; kept once more, the token could come out there.
        token = self._http.headers.get("authorization", "").removeprefix("Bearer ")
        return value.replace(token, "[token]") if token and isinstance(value, str) else value


def _checked_url(base_url: str) -> str:
    try:
        url = httpx2.URL(base_url)
        url.host.encode("idna")
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError(f"base_url: {error}") from None
    has_more = url.userinfo or url.query or url.fragment or set(base_url) & set("?#")
    if url.scheme not in ("http", "https") or not url.host or has_more:
        raise ValueError("base_url: expected http[s]://host[:port][/prefix]")
    return base_url.rstrip("/")


def _checked_token(token: str) -> str:
    if not (token.isascii() and token.isprintable() and 0 < len(token) <= _TOKEN_MOST_CHARS):
        raise ValueError("token: expected printable ASCII")
    if token != token.strip():
        raise ValueError("token: expected no white space around it")
    return token
