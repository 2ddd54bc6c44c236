"""gunicorn's response, sent in one piece: two cost a system call and wake the client twice."""

from gunicorn.http import wsgi


class Response(wsgi.Response):
    """A response whose head waits for the first part of its body.

    A worker that is killed between the two would leave a head alone, and then no proxy may send the
    request to another worker any more.
    """

    _head = b""

    def send_headers(self):
        """Make the head; `_emit_body` or `close` sends it."""
        if not self.headers_sent:
            lines = [*self.default_headers(), *(f"{k}: {v}\r\n" for k, v in self.headers), "\r\n"]
            self._head = "".join(lines).encode("latin-1")
            self.headers_sent = True

    def close(self):
        """End a response, which may be a head alone."""
        self.send_headers()
        self._send(b"")
        super().close()

    def _emit_body(self, data):
        self._send(b"%X\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def _send(self, data):
        rest = memoryview(self._head + data)
        self._head = b""
        while rest:
            # Each `send` waits as long as a client may be silent. `sendall` would wait for no more
            # than that in all, and cut off whoever reads a long answer slowly.
            rest = rest[self.sock.send(rest) :]
