"""What the client commands make of servers that are slow, rude or not there."""

import socket
import threading

import pytest

from orderapi.ops.target import AnswerLate, NoAnswer, Target
from tests.support.rude_server import socket_server


def test_a_server_that_says_nothing_is_given_up() -> None:
    with (
        socket_server(lambda _: None) as url,
        pytest.raises(AnswerLate, match=r"no answer within 0\.2 s"),
    ):
        Target(url, timeout_s=0.2).send("GET", "/healthz")


def test_a_server_that_drips_is_given_up() -> None:
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
def test_what_is_no_whole_answer_is_none(sent: bytes, words: str) -> None:
    def talk(connection: socket.socket) -> None:
        connection.sendall(sent)
        connection.shutdown(socket.SHUT_RDWR)

    with socket_server(talk) as url, pytest.raises(NoAnswer, match=words):
        Target(url, timeout_s=10).send("GET", "/healthz")
