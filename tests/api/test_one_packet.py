"""gunicorn's response as this service sends it, over a real socket."""

import socket
import threading
import time

from gunicorn.config import Config
from gunicorn.http import get_parser

from deploy.one_packet import Response

SILENCE_MOST_S = 6.0
BODY = bytes(range(256)) * 1024


def answer(connection: socket.socket) -> None:
    """Serve one request as a worker does; a client that says nothing for long is given up."""
    with connection:
        connection.settimeout(SILENCE_MOST_S)
        request = next(get_parser(Config(), connection, ("127.0.0.1", 0)))
        response = Response(request, connection, request.cfg)
        response.start_response("200 OK", [("Content-Length", str(len(BODY)))])
        response.write(BODY)
        response.close()


def test_whoever_reads_a_long_answer_slowly_gets_all_of_it() -> None:
    """For longer than a client may be silent, but never silent."""
    ours, client = socket.socketpair()
    # What the buffer takes is sent, as far as the server can tell.
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    serving = threading.Thread(target=answer, args=(ours,))
    with client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: orders\r\n\r\n")
        serving.start()
        received = b""
        while len(received) < len(BODY) and (part := client.recv(8192, socket.MSG_WAITALL)):
            received += part
            time.sleep(1.3 * SILENCE_MOST_S * len(part) / len(BODY))
        while part := client.recv(8192):
            received += part
    serving.join()
    assert received.partition(b"\r\n\r\n")[2] == BODY
