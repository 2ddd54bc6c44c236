"""Makes one attempt: sends a request and reads its answer, within a time and a size.

Only this module of the client imports httpx2.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

import httpx2

from orderapi.client.arguments import check_base_url, check_token
from orderapi.client.failures import AnswerLost
from orderapi.time_limit import call_within

# The longest answer, a page of 100 events, is under 1 MiB.
BODY_MAX_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request. Every attempt of a call sends the same bytes.

    `key` is the idempotency key, without quotes and escapes, for the exceptions of the call. It is
    None if the call has no key.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    key: str | None = None


@dataclass(frozen=True, slots=True)
class WholeAnswer:
    """An answer that arrived completely. The names of its headers may be in any case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        """The JSON document in the body, or None if the body is not JSON."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class Exchange:
    """Sends requests to the service at `base_url` with `token`. Many threads may use one object.

    Redirects are not followed, so no other host gets the key or the token. Cookies are not kept.

    Raises ValueError if the URL or the token is not valid. The message does not contain the token.
    """

    def __init__(self, base_url: str, token: str | None) -> None:
        self._base_url = check_base_url(base_url)
        try:
            httpx2.URL(self._base_url)
        except httpx2.InvalidURL as error:
            raise ValueError(f"base_url: expected a valid URL, but: {error}") from None
        # A compressed answer could grow while it is read. Answers are short without compression.
        headers = {"Accept-Encoding": "identity", "User-Agent": "orderapi-client"}
        if check_token(token) is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx2.Client(
            headers=headers,
            # There are as many connections as threads, so that no thread waits for another one.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
            follow_redirects=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            event_hooks={"response": [_forget_location]},
        )
        self._process_id = os.getpid()
        self._is_closed = False

    def __repr__(self) -> str:
        return f"Exchange({self._base_url!r})"

    def send(self, request: Request, timeout_s: float) -> WholeAnswer:
        """Send a request and return its whole answer.

        Raises AnswerLost if no whole answer arrives within `timeout_s` seconds. The request may
        then still be on its way, and may still reach the service. Raises RuntimeError after
        `close`, and in a process that was forked from the one that made this object.
        """
        if self._is_closed:
            raise RuntimeError("this client is closed")
        if self._process_id != os.getpid():
            # Two processes that share a connection read each other's answers.
            raise RuntimeError(
                f"this client belongs to process {self._process_id}, from which process "
                f"{os.getpid()} was forked; make a client after the fork"
            )
        try:
            return call_within(timeout_s, lambda: self._exchange(request, timeout_s))
        except TimeoutError:
            raise AnswerLost(f"no answer within {timeout_s:.3g} s") from None
        # The other errors are a host name that has no address, or a thread that cannot be started.
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError, UnicodeError) as error:
            raise AnswerLost(self._hide_token(str(error) or type(error).__name__)) from None

    def problem(self, answer: WholeAnswer) -> Mapping[str, Any]:
        """Return the problem document (RFC 9457) of an answer, or an empty one if it has none.

        If a server has sent the token back, the document contains `[token]` instead.
        """
        media_type = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        document = answer.document if media_type == "application/problem+json" else None
        return self._hide_token(document) if isinstance(document, dict) else {}

    def close(self) -> None:
        """Close the connections. In a forked process, they stay open for the parent process."""
        self._is_closed = True
        # Another thread may have held a lock of the connections during the fork. That thread does
        # not exist in the forked process, so no thread there releases the lock.
        if self._process_id == os.getpid():
            self._http.close()

    def _exchange(self, request: Request, timeout_s: float) -> WholeAnswer:
        give_up_at = time.monotonic() + timeout_s
        with self._http.stream(
            request.method,
            self._base_url + request.path,
            params=request.query,
            headers=request.headers,
            content=request.body,
            timeout=timeout_s,
        ) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > BODY_MAX_BYTES:
                    raise AnswerLost(f"the answer has more than {BODY_MAX_BYTES} bytes")
                # The caller no longer waits for this answer. The exception ends the reading thread.
                if time.monotonic() > give_up_at:
                    raise AnswerLost(f"no whole answer within {timeout_s:.3g} s")
            return WholeAnswer(response.status_code, response.headers, bytes(body))

    def _hide_token(self, value: Any) -> Any:
        """Return a JSON value in which `[token]` replaces the token. Names are not changed."""
        if isinstance(value, dict):
            return {name: self._hide_token(member) for name, member in value.items()}
        if isinstance(value, list):
            return [self._hide_token(member) for member in value]
        # The token is kept only in httpx2, which hides this header from every repr.
        token = self._http.headers.get("authorization", "").removeprefix("Bearer ")
        return value.replace(token, "[token]") if token and isinstance(value, str) else value


def _forget_location(response: httpx2.Response) -> None:
    """Discard the target of a redirect before httpx2 parses it.

    httpx2 parses the target although it does not follow it, and raises ValueError for some targets
    (`//]:@`), which would not be a documented exception.
    """
    response.headers.pop("location", None)
