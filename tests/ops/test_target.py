"""How the client commands see servers that are slow, that break HTTP, or that do not exist."""

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orderapi.ops.target import AnswerLate, NoAnswer, ServerAnswer, Target
from tests.support.raw_server import RawServer, http, raw_server
from tests.support.rude_server import socket_server


def test_a_request_to_a_silent_server_ends_at_its_time_limit() -> None:
    with (
        socket_server(lambda _: None) as url,
        pytest.raises(AnswerLate, match=r"no answer within 0\.2 s"),
    ):
        Target(url, timeout_s=0.2).send("GET", "/healthz")


def test_a_request_to_a_server_that_sends_byte_by_byte_ends_at_its_time_limit() -> None:
    pause = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(40):
            connection.sendall(b"x")
            if pause.wait(0.05):
                return

    with socket_server(drip) as url:
        with pytest.raises(AnswerLate):
            Target(url, timeout_s=0.4).send("GET", "/healthz")
        pause.set()


@pytest.mark.parametrize(
    ("sent", "words"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "cut short"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{}", "cut short"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"x" * 9999999, "too long"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "does not speak HTTP"),
        (b"", "closed connection"),
    ],
)
def test_an_incomplete_answer_raises_no_answer(sent: bytes, words: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_RDWR)

    with socket_server(talk) as url, pytest.raises(NoAnswer, match=words):
        Target(url, timeout_s=10).send("GET", "/healthz")


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with raw_server() as server:
        yield server


lines = st.binary(max_size=40) | st.sampled_from(
    [b"Transfer-Encoding: chunked", b"Content-Length: " + b"9" * 5000, b"Content-Length: -1",
     b"Content-Length: 1_0", b"Content-Encoding: gzip", b"Connection: keep-alive"]
)  # fmt: skip


@given(
    st.integers(100, 999).map(lambda status: http(status)[:15]) | st.binary(max_size=20),
    st.lists(lines, max_size=4),
    st.binary(max_size=40),
)
def test_any_bytes_of_a_server_are_an_answer_or_raise_no_answer(
    server: RawServer, first_line: bytes, headers: list[bytes], body: bytes
) -> None:
    server.answer = b"\r\n".join([first_line, *headers, b"", body])
    try:
        answer = Target(server.url).send("GET", "/healthz")
    except NoAnswer:
        return
    assert isinstance(answer, ServerAnswer)


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:80", "ftp://127.0.0.1", "http://", "http://:80", "http://a@127.0.0.1",
     "http://127.0.0.1:0", "http://127.0.0.1:65536", "http://127.0.0.1:87313", "http://[::1",
     "http://127.0.0.1:x", "http://127.0.0.1/?a", "http://127.0.0.1/#a", "http://127.0.0.1/ a"],
)  # fmt: skip
def test_a_text_that_is_no_url_of_a_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Target(url)
