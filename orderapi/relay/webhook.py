"""Signs an event, sends it to the receiver over HTTP, and evaluates the answer.

Signatures follow Standard Webhooks 1.0. The relay does not trust the receiver: an answer is limited
in time and in size, its body is not used, and redirects are not followed.
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
from orderapi.relay.attempt import Message, Outcome
from orderapi.relay.name_lookup import NameLookupLoop

# Standard Webhooks recommends 15 to 30 s for an attempt.
ATTEMPT_MAX_S = 20.0
CONNECT_MAX_S = 5.0
# An acknowledgement is short. The rest of a longer answer is not read.
ANSWER_MAX_BYTES = 64 * 1024
# The time for closing a broken connection.
_CLOSE_MAX_S = 1.0

_log = logging.getLogger(__name__)


class Receiver:
    """Posts events to one URL over one connection, which is kept until an attempt fails.

    `secret` is `whsec_` and base64. `attempt_max_s` limits the seconds of a whole attempt, from the
    look-up of the host's name to the last byte of the answer. Certificates are checked against the
    system's store. No proxy is used.

    Raises ValueError if the URL or the secret is unusable. The message repeats neither of them.
    """

    def __init__(self, url: str, secret: str, *, attempt_max_s: float = ATTEMPT_MAX_S) -> None:
        try:
            self._url = httpx2.URL(url)
        except (httpx2.InvalidURL, UnicodeError):
            raise ValueError("expected an http:// or https:// URL") from None
        self._webhook = Webhook(fields.webhook_secret_key(secret))
        self._attempt_max_s = attempt_max_s
        self._tls = ssl.create_default_context()
        self._client: httpx2.AsyncClient | None = None
        self._runner = asyncio.Runner(loop_factory=NameLookupLoop)
        # At lower levels, these loggers write the URL with its query, and every header.
        for name in ("httpx2", "httpcore2", "asyncio"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # The user, the path and the query may be secrets.
        _log.info("the receiver is at %s://%s", self._url.scheme, self._url.netloc.decode())

    def send(self, message: Message) -> Outcome:
        """Make one attempt. Every failure is part of the outcome."""
        return self._runner.run(self._attempt(message))

    def close(self) -> None:
        """Close the connection."""
        self._runner.run(self._drop_connection())
        self._runner.close()

    async def _attempt(self, message: Message) -> Outcome:
        try:
            async with asyncio.timeout(self._attempt_max_s):
                outcome = await self._post(message)
        except Exception as error:  # its message may contain the URL, so `_reason` replaces it
            outcome = Outcome(None, _reason(error, self._attempt_max_s))
        if not outcome.is_delivered:
            # The next attempt opens a new connection, because the state of this one is unknown.
            await self._drop_connection()
        return outcome

    async def _post(self, message: Message) -> Outcome:
        if self._client is None:
            self._client = self._new_client()
        async with self._client.stream(
            "POST", self._url, content=message.body.encode(), headers=self._headers(message)
        ) as response:
            outcome = Outcome(
                response.status_code,
                f"HTTP {response.status_code}",
                response.headers.get("retry-after"),
                response.headers.get("date"),
            )
            if outcome.is_delivered:
                # A connection can be used again only if the answer was read to its end. If the
                # answer breaks off here, the receiver may have crashed before it stored the event.
                await _read_to_end(response)
            return outcome

    def _headers(self, message: Message) -> dict[str, str]:
        sent_at = datetime.fromtimestamp(int(message.sent_at), UTC)
        return {
            "content-type": "application/cloudevents+json",
            "accept-encoding": "identity",
            "user-agent": "orderapi",
            "webhook-id": message.event_id,
            "webhook-timestamp": str(int(message.sent_at)),
            "webhook-signature": self._webhook.sign(message.event_id, sent_at, message.body),
        } | ({"traceparent": message.traceparent} if message.traceparent else {})

    def _new_client(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            verify=self._tls,
            trust_env=False,
            follow_redirects=False,
            timeout=httpx2.Timeout(
                self._attempt_max_s, connect=min(CONNECT_MAX_S, self._attempt_max_s)
            ),
            limits=httpx2.Limits(max_connections=1),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
        )

    async def _drop_connection(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            try:
                async with asyncio.timeout(_CLOSE_MAX_S):
                    await client.aclose()
            except Exception as error:
                _log.debug("closing the connection failed: %s", type(error).__name__)


async def _read_to_end(response: httpx2.Response) -> None:
    """Read an answer to its end, or until it exceeds ANSWER_MAX_BYTES."""
    read_bytes = 0
    async for chunk in response.aiter_raw():
        read_bytes += len(chunk)
        if read_bytes > ANSWER_MAX_BYTES:
            return


def _reason(error: Exception, attempt_max_s: float) -> str:
    """Return a description of an error that contains no part of the URL except its host."""
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
        return f"no connection within {min(CONNECT_MAX_S, attempt_max_s):g} s"
    if isinstance(error, TimeoutError | httpx2.TimeoutException):
        return f"no complete answer within {attempt_max_s:g} s"
    if isinstance(error, httpx2.RemoteProtocolError):
        return "the answer was incomplete, or was not HTTP"
    return type(error).__name__


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the causes of an error. The innermost one comes first, because it says the most."""
    inner = error.__cause__ or error.__context__
    if inner is not None:
        yield from _causes(inner)
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _causes(each)
    yield error
