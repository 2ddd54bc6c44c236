"""One attempt against real servers that misbehave, time out, redirect or show bad certificates."""

import gzip
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest
import trustme

from orderapi.relay.attempt import Message, Outcome
from orderapi.relay.webhook import ANSWER_MAX_BYTES, Receiver
from tests.support import relay_receiver as receiving
from tests.support.ports import free_port
from tests.support.relay_receiver import (
    RESET_MID_BODY,
    SECRET,
    TAKE,
    Behaviour,
    reset_after,
    status,
)

# The limit of attempts that must time out. All other attempts get more time on a busy machine.
SHORT_S = 0.5
EVENT_ID = "4b7a6c1e-6f0e-4a53-9d0e-0a3f1c2b4d5e"
BODY = f'{{"id":"{EVENT_ID}","sequence":"0000000000000000007","data":{{"item_id":"caf\u00e9"}}}}'


def message() -> Message:
    return Message(EVENT_ID, BODY, time.time())


def attempt(url: str, total_s: float = 20.0) -> Outcome:
    with closing(Receiver(url, SECRET, attempt_max_s=total_s)) as receiver:
        return receiver.send(message())


def attempt_at(behaviour: Behaviour) -> Outcome:
    with receiving.receiving(lambda _: behaviour) as server:
        return attempt(server.url)


# The request.


def test_a_delivery_is_signed_and_states_its_type() -> None:
    with receiving.receiving() as server:
        assert attempt(server.url + "/hook?a=b") == Outcome(204, "HTTP 204")
    (arrival,) = server.arrivals
    assert server.refused == []
    assert arrival.event["data"] == {"item_id": "caf\u00e9"}
    assert arrival.headers["webhook-id"] == EVENT_ID
    assert arrival.headers["webhook-signature"].startswith("v1,")
    assert abs(int(arrival.headers["webhook-timestamp"]) - time.time()) < 60
    assert "authorization" not in arrival.headers
    assert "python" not in arrival.headers["user-agent"]


def test_another_secret_is_refused() -> None:
    """The receiver of these tests verifies signatures."""
    other = "whsec_" + b64encode(b"x" * 32).decode()
    with receiving.receiving() as server:
        with closing(Receiver(server.url, other)) as receiver:
            assert receiver.send(message()).status == 401
        assert len(server.refused) == 1


def test_user_and_password_of_the_url_are_sent_as_such() -> None:
    with receiving.receiving() as server:
        attempt(server.url.replace("//", "//us%20er:pass@"))
    (arrival,) = server.arrivals
    assert arrival.headers["authorization"] == "Basic " + b64encode(b"us er:pass").decode()


def test_a_connection_is_kept_until_an_attempt_fails() -> None:
    def behave(number: int) -> Behaviour:
        return status(500) if number == 5 else TAKE

    with (
        receiving.receiving(behave) as server,
        closing(Receiver(server.url, SECRET)) as receiver,
    ):
        statuses = [receiver.send(message()).status for _ in range(8)]
    assert statuses == [204] * 4 + [500] + [204] * 3
    assert server.connections == 2


def test_cookies_are_not_kept() -> None:
    baking = status(200, Set_Cookie="taste=good; Path=/")
    with (
        receiving.receiving(lambda _: baking) as server,
        closing(Receiver(server.url, SECRET)) as receiver,
    ):
        for _ in range(2):
            receiver.send(message())
    assert [arrival.headers.get("cookie") for arrival in server.arrivals] == [None, None]


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    assert attempt_at(TAKE).is_delivered


# The answer.


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_redirects_are_not_followed(code: int) -> None:
    with receiving.receiving() as elsewhere:
        answer = attempt_at(status(code, Location=elsewhere.url))
        assert (answer.status, answer.is_delivered) == (code, False)
        assert elsewhere.connections == 0


def test_retry_after_is_passed_on() -> None:
    answer = attempt_at(status(503, Retry_After="17"))
    assert answer == Outcome(503, "HTTP 503", "17")
    # A date in Retry-After is compared with the receiver's own.
    assert answer.date
    assert parsedate_to_datetime(answer.date)


FOREVER = {
    "nothing": (b"", b""),
    "a status line alone": (b"HTTP/1.1 200 OK\r\n", b""),
    "headers, drop by drop": (b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "half a body": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\nhalf", b""),
    "a body, drop by drop": (b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"x"),
    "chunks without end": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
}


@pytest.mark.parametrize("kind", FOREVER)
def test_an_attempt_ends_at_its_limit_however_slow_the_answer_is(kind: str) -> None:
    head, drop = FOREVER[kind]
    with receiving.receiving() as server:
        server.behave = lambda _: server.silence(head, drop)
        answer = attempt(server.url, SHORT_S)
    assert answer.status is None
    assert answer.reason in ("no complete answer within 0.5 s", "no connection within 0.5 s")


CUT = {
    "before any answer": b"",
    "in the headers": b"HTTP/1.1 200 OK\r\nContent-Le",
    "in the body": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhalf",
    "what is not HTTP": b"220 half ESMTP\r\n",
    "an impossible length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X-A: 1\r\n" * 100_000,
}


@pytest.mark.parametrize("kind", CUT)
def test_an_incomplete_answer_counts_as_no_answer(kind: str) -> None:
    answer = attempt_at(reset_after(CUT[kind]))
    assert answer.status is None
    assert answer.reason
    assert "half" not in answer.reason


def test_a_2xx_with_an_endless_body_counts_as_delivered() -> None:
    head = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (ANSWER_MAX_BYTES + 1)
    with receiving.receiving() as server:
        server.behave = lambda _: server.silence(head, b"x" * 1000)
        assert attempt(server.url).is_delivered


def test_a_compressed_body_is_not_decompressed() -> None:
    bomb = gzip.compress(b"\0" * 30_000_000)
    assert len(bomb) < ANSWER_MAX_BYTES
    assert attempt_at(status(200, bomb, Content_Encoding="gzip")).is_delivered
    assert attempt_at(status(200, b"no gzip", Content_Encoding="gzip")).is_delivered


def test_after_a_failure_the_next_attempt_succeeds() -> None:
    """Each failure leaves the connection in another state."""
    with receiving.receiving() as server:
        failures = [
            RESET_MID_BODY,
            server.silence(),
            status(500, b"no"),
            server.silence(b"HTTP/1.1 200 OK\r\nX-A: ", b"x"),
        ]
        server.behave = lambda number: TAKE if number % 2 else failures[number // 2 - 1]
        with closing(Receiver(server.url, SECRET, attempt_max_s=5.0)) as receiver:
            taken = [receiver.send(message()).is_delivered for _ in range(9)]
    assert taken == [True, False, True, False, True, False, True, False, True]


# No answer.


def test_a_port_without_a_listener_is_a_failed_attempt() -> None:
    assert attempt(f"http://127.0.0.1:{free_port()}") == Outcome(None, "Connection refused")


def test_a_host_that_does_not_exist_is_a_failed_attempt() -> None:
    answer = attempt("http://nowhere.invalid/")
    assert answer.status is None
    assert answer.reason.startswith(("DNS: ", "no connection within"))


@pytest.mark.parametrize("url", ["http://[::1", "http://a" + "\ud800"])
def test_an_unusable_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"^expected an http") as refused:
        Receiver(url, SECRET)
    assert url not in str(refused.value)


# Certificates.


@contextmanager
def showing(certificate: trustme.LeafCert) -> Iterator[receiving.Receiver]:
    """A receiver over TLS that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with receiving.receiving(tls=context) as server:
        yield server


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """A certificate authority that the system trusts."""
    authority = trustme.CA()
    path = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(str(path))
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return authority


def test_a_right_certificate_is_accepted(authority: trustme.CA) -> None:
    with showing(authority.issue_cert("127.0.0.1")) as server:
        assert attempt(server.url).is_delivered
        assert len(server.arrivals) == 1


WRONG: dict[str, Callable[[trustme.CA], trustme.LeafCert]] = {
    "unable to get local issuer certificate": lambda _: trustme.CA().issue_cert("127.0.0.1"),
    "certificate is not valid for '127.0.0.1'": lambda ca: ca.issue_cert("other.example"),
    "certificate has expired": lambda ca: ca.issue_cert(
        "127.0.0.1", not_after=datetime.now(UTC) - timedelta(days=1)
    ),
}


@pytest.mark.parametrize("why", WRONG)
def test_a_wrong_certificate_is_refused_and_nothing_is_sent(
    authority: trustme.CA, why: str
) -> None:
    with showing(WRONG[why](authority)) as server:
        answer = attempt(server.url)
        assert answer.status is None
        assert answer.reason.startswith("TLS certificate: ")
        assert why in answer.reason
        assert server.arrivals == []
        assert server.refused == []


def test_a_receiver_without_tls_fails_an_https_attempt() -> None:
    with receiving.receiving() as server:
        answer = attempt(server.url.replace("http:", "https:"))
    assert answer.status is None
    assert answer.reason.startswith("TLS: ")
