"""A live server as the client commands see it: one request, one answer, within a time limit."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from orderapi.time_limit import call_within

# The service promises an answer within 10 s; the rest is for the network.
TIMEOUT_S = 15.0
# The longest answer that the commands ask for, a page of 100 orders, is far shorter.
BODY_MAX_BYTES = 1024 * 1024


class NoAnswer(Exception):
    """No whole HTTP answer arrived; the message says why."""


class AnswerLate(NoAnswer):
    """No whole HTTP answer arrived in time."""


@dataclass(frozen=True, slots=True)
class ServerAnswer:
    """A status, its headers by lower-case name, and the body byte for byte."""

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
    """A server at `url` (`http[s]://host[:port][/prefix]`), which is sent `token` if there is one.

    `timeout_s` limits each request in seconds. Redirects are not followed and proxies are not
    used, so that the answer comes from the server that was named. Raises ValueError if the URL is
    not of that form.
    """

    def __init__(self, url: str, token: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        try:
            parts = urlsplit(url)
            self._port = parts.port
        except ValueError:
            raise ValueError("expected a host name and a port from 1 to 65535") from None
        if (
            not (url.isascii() and url.isprintable() and " " not in url)
            or parts.scheme not in ("http", "https")
            or not parts.hostname
            or self._port == 0
            or "@" in parts.netloc
            or set(url) & set("?#")
        ):
            raise ValueError("expected http://host:port or https://host:port")
        self._is_https = parts.scheme == "https"
        self._host = parts.hostname
        self._prefix = parts.path.rstrip("/")

    def send(
        self,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> ServerAnswer:
        """Send one request over a connection of its own and return its answer.

        Raises NoAnswer if no whole answer arrived. The request may nevertheless have been executed.
        """
        try:
            return call_within(
                self._timeout_s, lambda: self._exchange(method, path, body, headers or {})
            )
        except TimeoutError as error:
            raise AnswerLate(f"no answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException, UnicodeError) as error:
            raise NoAnswer(_reason(error)) from error

    def hide_token(self, text: str) -> str:
        """Return a text with a mark in place of the token, in case a server has sent it back."""
        return text.replace(self._token, "[token]") if self._token else text

    def _exchange(
        self, method: str, path: str, body: str | None, headers: Mapping[str, str]
    ) -> ServerAnswer:
        sent = {"User-Agent": "orderapi", "Accept": "application/json", **headers}
        if self._token:
            sent["Authorization"] = f"Bearer {self._token}"
        connection = self._connection()
        try:
            connection.request(method, self._prefix + path, body, sent)
            response = connection.getresponse()
            received = response.read(BODY_MAX_BYTES)
            if response.length:
                raise http.client.IncompleteRead(received, response.length)
        finally:
            connection.close()
        return ServerAnswer(
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


def _reason(error: Exception) -> str:
    """Say in words why there was no answer."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, http.client.IncompleteRead):
        return "the answer was cut short, or is too long"
    if isinstance(error, UnicodeError):
        return "there is no host of that name"
    return "the server does not speak HTTP"
