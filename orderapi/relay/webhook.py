"""One attempt at the receiver: sign, post, judge what comes back.

Signatures are those of Standard Webhooks 1.0. Nothing that the receiver sends is trusted: it is
bounded in time and size, not decoded, not followed, not kept and not logged.
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx2
from standardwebhooks import Webhook

from orderapi import fields
from orderapi.relay.attempt import Answer, Message

# Standard Webhooks recommends 15 to 30 s for an attempt.
TOTAL_S = 20.0
CONNECT_S = 5.0
# More than any acknowledgement; what is longer counts as read.
ANSWER_MOST_BYTES = 64 * 1024
# A connection that goes wrong is not waited for when it is closed.
_CLOSE_S = 1.0

_log = logging.getLogger(__name__)


class Receiver:
    """Posts to one URL, over one connection that it keeps while all goes well.

    `secret` is `whsec_` and base64. `total_s` bounds a whole attempt, from looking up the host's
    name to the answer's last byte, and so all that a slow receiver can do. Certificates are
    checked against the system's store. No proxy is used.

    Raises ValueError if the URL or the secret cannot be used; the message repeats neither.
    """

    def __init__(self, url: str, secret: str, *, total_s: float = TOTAL_S) -> None:
        try:
            self._url = httpx2.URL(url)
        except (httpx2.InvalidURL, UnicodeError):
            raise ValueError("expected an http:// or https:// URL") from None
        self._webhook = Webhook(fields.webhook_secret_key(secret))
        self._total_s = total_s
        self._tls = ssl.create_default_context()
        self._client: httpx2.AsyncClient | None = None
        self._runner = asyncio.Runner()
        # They write the URL with its query, and every header.
        for name in ("httpx2", "httpcore2", "asyncio"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # User, path and query may be secrets.
        _log.info("the receiver is at %s://%s", self._url.scheme, self._url.netloc.decode())

    def send(self, message: Message) -> Answer:
        """Make one attempt; whatever goes wrong is in its answer."""
        return self._runner.run(self._attempt(message))

    def close(self) -> None:
        """Let the connection go."""
        self._runner.run(self._drop_connection())
        self._runner.close()

    async def _attempt(self, message: Message) -> Answer:
        try:
            async with asyncio.timeout(self._total_s):
                answer = await self._post(message)
        except Exception as error:  # what it says may hold the URL: `_reason` picks the words
            answer = Answer(None, _reason(error, self._total_s))
        if not answer.is_taken:
            # The next attempt begins anew, whatever this one left behind where it broke off.
            await self._drop_connection()
        return answer

    async def _post(self, message: Message) -> Answer:
        if self._client is None:
            self._client = self._new_client()
        async with self._client.stream(
            "POST", self._url, content=message.body.encode(), headers=self._headers(message)
        ) as response:
            answer = Answer(
                response.status_code,
                f"HTTP {response.status_code}",
                response.headers.get("retry-after"),
                response.headers.get("date"),
            )
            if answer.is_taken:
                # Also keeps the connection; and what breaks off here, a crash may have cut.
                await _read_off(response)
            return answer

    def _headers(self, message: Message) -> dict[str, str]:
        sent_at = datetime.fromtimestamp(int(message.sent_at), UTC)
        return {
            "content-type": "application/cloudevents+json",
            "accept-encoding": "identity",
            "user-agent": "orderapi",
            "webhook-id": message.event_id,
            "webhook-timestamp": str(int(message.sent_at)),
            "webhook-signature": self._webhook.sign(message.event_id, sent_at, message.body),
        }

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._total_s, connect=min(CONNECT_S, self._total_s)),
            limits=httpx2.Limits(max_connections=1),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def _drop_connection(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                async with asyncio.timeout(_CLOSE_S):
                    await client.aclose()
            except Exception as error:
                _log.debug("closing: %s", type(error).__name__)


async def _read_off(response: httpx2.Response) -> None:
    """Read an answer to its end, or to more of it than anybody needs."""
    read_bytes = 0
    async for chunk in response.aiter_raw():
        read_bytes += len(chunk)
        if read_bytes > ANSWER_MOST_BYTES:
            return


def _reason(error: Exception, total_s: float) -> str:
    """Say what went wrong in words that hold no part of the URL but its host."""
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS certificate: {cause.verify_message}"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason}"
        if isinstance(cause, socket.gaierror):
            return f"DNS: {cause.strerror}"
        if isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)
    if isinstance(error, httpx2.ConnectTimeout):
        return f"no connection within {min(CONNECT_S, total_s):g} s"
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return f"no whole answer within {total_s:g} s"
    if isinstance(error, httpx2.RemoteProtocolError):
        return "no whole answer, or none in HTTP"
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error's causes, the innermost first: there the system says what it was."""
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from _causes(inner)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    yield error
