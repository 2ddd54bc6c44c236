"""nginx and the service find the same requests in the bytes of clients, also in malformed ones."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from tests.server.corpus import AMBIGUOUS, BROKEN_CHUNKS, SMUGGLED
from tests.support.http_messages import chunk, raw_order, raw_request
from tests.support.nginx_site import ServerBehind

# After this time of silence, no further answers are expected.
SILENCE_S = 1.0
_REQUEST_ID = re.compile(rb"\r\nx-request-id: ([^\r]+)", re.IGNORECASE)


def test_no_request_is_smuggled_past_nginx(shared_server: ServerBehind) -> None:
    """Each request that the service logs was answered to the client that sent it."""

    def ids_of(stream: bytes) -> set[str]:
        received = play(shared_server.port, stream)
        return {found.decode() for found in _REQUEST_ID.findall(received)}

    in_bodies = [
        raw_request("GET", "/healthz", body=SMUGGLED),
        raw_order("hidden", SMUGGLED),
        raw_order("hidden", chunk(SMUGGLED) + b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    ]
    streams = [*AMBIGUOUS.values(), *BROKEN_CHUNKS.values(), *in_bodies]
    with ThreadPoolExecutor(16) as pool:
        answered = set().union(*pool.map(ids_of, streams))
    for number in range(20):
        # No bytes of the streams are left on a connection between nginx and the service.
        headers = {"X-Request-ID": f"honest-{number}"}
        honest = shared_server.request("GET", "/healthz", headers=headers)
        assert (honest.status, honest.headers["x-request-id"]) == (200, f"honest-{number}")
    # The log is complete once its processes have ended.
    assert shared_server.stop() == 0
    logged = {
        line["request_id"] for line in shared_server.log_lines() if line.get("path") == "/smuggled"
    }
    assert logged <= answered
    assert shared_server.counts()["orders"] == 0


def play(port: int, stream: bytes) -> bytes:
    """Send a stream, and give all bytes that arrive until the other side is silent."""
    received = b""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), SILENCE_S) as connection:
        connection.sendall(stream)
        while data := connection.recv(65_536):
            received += data
    return received
