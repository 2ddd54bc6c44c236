"""A live server as the client commands see it: one request, one answer, within a bound."""

import http.client
import json
import queue
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

# The service promises an answer within 10 s; this leaves the network some more.
TIMEOUT_S = 15.0
# The longest answer that the commands ask for, a page of 100 orders, is far shorter.
BODY_MOST_BYTES = 1024 * 1024


class NoAnswer(Exception):
    """No whole HTTP answer came back; the message says why."""


class AnswerLate(NoAnswer):
    """No whole HTTP answer came back in time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A status, its headers by lower-case name, and the body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> dict[str, Any]:
        """The JSON object in the body; empty if there is none."""
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) else {}


class Target:
    """A server at `url` (`http[s]://host[:port][/prefix]`), asked on behalf of `token`.

    Redirects are not followed and proxies not used: what answers is what was asked. Raises
    ValueError if the URL is not of that form.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        parts = urlsplit(url)
        if (
            not (url.isascii() and url.isprintable() and " " not in url)
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or "@" in parts.netloc
            or set(url) & set("?#")
        ):
            raise ValueError("expected http://host:port or https://host:port")
        self._is_https = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._prefix = parts.path.rstrip("/")

    def send(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request over a connection of its own and give its answer.

        Raises NoAnswer if there was none; then the request may have been executed, or not.
        """
        outcome: queue.SimpleQueue[Answer | Exception] = queue.SimpleQueue()

        def exchange() -> None:
            try:
                outcome.put(self._exchange(method, path, body, headers or {}))
            except Exception as error:
                outcome.put(error)

        # Neither a name look-up nor an answer that drips in is bounded by the socket's time-out.
        threading.Thread(target=exchange, daemon=True).start()
        try:
            result = outcome.get(timeout=self._timeout_s)
        except queue.Empty:
            result = TimeoutError()
        if isinstance(result, Exception):
            raise self._no_answer(result) from result
        return result

    def hide_token(self, text: str) -> str:
        """Give a text without the token, should a server have sent it back."""
        return text.replace(self._token, "[token]") if self._token else text

    def _exchange(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> Answer:
        sent = {"User-Agent": "orderapi", "Accept": "application/json", **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, body, sent)
            response = connection.getresponse()
            received = response.read(BODY_MOST_BYTES)
            if response.length:
                raise http.client.IncompleteRead(received, response.length)
        finally:
            connection.close()
        return Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            received,
        )

    def _connection(self) -> http.client.HTTPConnection:
        if self._is_https:
            return http.client.HTTPSConnection(
                self._host,
                self._port,
                timeout=self._timeout_s,
                context=ssl.create_default_context(),
            )
        return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout_s)

    def _no_answer(self, error: Exception) -> Exception:
        if isinstance(error, TimeoutError):
            return AnswerLate(f"no answer within {self._timeout_s:g} s")
        if isinstance(error, OSError):
            return NoAnswer(error.strerror or str(error))
        if isinstance(error, http.client.IncompleteRead):
            return NoAnswer("the answer was cut short, or is too long")
        if isinstance(error, http.client.HTTPException):
            return NoAnswer("what answered does not speak HTTP")
        if isinstance(error, UnicodeError):
            return NoAnswer("there is no host of that name")
        return error
