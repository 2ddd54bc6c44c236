"""gunicorn's gevent worker, with a quick end: of silent connections, and of its own."""

import io
import os
import socket
import time
from contextlib import closing, nullcontext, suppress
from functools import partial

import gevent
from gevent import monkey
from gevent.pool import Pool
from gevent.server import StreamServer
from gunicorn import util
from gunicorn.sock import ssl_context
from gunicorn.workers.ggevent import GeventWorker

# How often to see whether to stop, and whether all have gone then. In gunicorn's own steps of a
# second a restart would keep its clients waiting for that much longer, twice.
LOOK_S = 0.1
# How long a stopping worker still listens on connections that it keeps alive, for the request that
# a client may be sending.
LINGER_S = 0.5
# More than any order has.
BODY_MOST_BYTES = 1024 * 1024


class Worker(GeventWorker):
    """A worker that knows on which of its connections it waits for a request.

    gunicorn's own would wait `graceful_timeout` for them to send one, and then be killed.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        # Since when each connection that is not in a request has been silent.
        self._silent = {}
        # Those whose reading ends as soon as nothing more is there.
        self._ended = set()
        self._stopping_since = None

    def run(self):
        """Serve until told to stop, then let what is in flight end, for `graceful_timeout`."""
        servers = [self._serving(listener) for listener in self.sockets]
        while self.alive:
            self.notify()
            gevent.sleep(LOOK_S)
        for server in servers:
            server.close()
        give_up_at = time.monotonic() + self.cfg.graceful_timeout
        while any(server.pool for server in servers) and time.monotonic() < give_up_at:
            self.notify()
            gevent.sleep(LOOK_S)
        if any(server.pool for server in servers):
            self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
        for server in servers:
            server.stop(timeout=1)

    def _serving(self, listener):
        listener.setblocking(True)
        pool = Pool(self.worker_connections)
        tls = {"ssl_context": ssl_context(self.cfg)} if self.cfg.is_ssl else {}
        server = StreamServer(listener, handle=partial(self.handle, listener), spawn=pool, **tls)
        # One at a time, so that the other workers get their share.
        server.max_accept = 1
        server.start()
        return server

    def notify(self):
        """Do what is due every LOOK_S: beat, and let silent connections go."""
        super().notify()
        self._let_silent_ones_go()

    def timeout_ctx(self):
        """Need no timer for each request: `notify` looks who has been silent for `keepalive`."""
        return nullcontext()

    def handle(self, listener, client, addr):
        """Serve a connection to its end."""
        self._silent[client] = time.monotonic()
        try:
            super().handle(listener, client, addr)
        finally:
            self._silent.pop(client, None)
            self._ended.discard(client)

    def handle_request(self, listener_name, req, sock, addr):
        """Serve one request."""
        del self._silent[sock]
        if sock in self._ended:
            _take_what_came(req)
        try:
            super().handle_request(listener_name, req, sock, addr)
            # The service has read on, up to its bound; gunicorn would do so for ever.
            if not _is_read_whole(req.body):
                raise StopIteration
        finally:
            self._silent[sock] = time.monotonic()
        # A client whose next request is already there would keep its turn, and others wait.
        gevent.sleep(0)
        # How long to wait for the next request is `keepalive`'s to say; see `pre_request`.
        sock.settimeout(None)

    def handle_error(self, req, client, addr, exc):
        """Refuse what is not HTTP; what it sent and nobody read must not cost it the answer."""
        super().handle_error(req, client, addr, exc)
        util.close_graceful(client)

    def _let_silent_ones_go(self):
        now = time.monotonic()
        if self.alive:
            silence_most_s, not_before = self.cfg.keepalive, 0.0
        else:
            self._stopping_since = self._stopping_since or now
            silence_most_s, not_before = LINGER_S, self._stopping_since
        for client, since in list(self._silent.items()):
            if now - max(since, not_before) >= silence_most_s:
                self._ended.add(client)
                _end_reading(client)


def _is_read_whole(body):
    try:
        return not body.read(1)
    except Exception:  # gunicorn has errors of several kinds for it
        return False


def _take_what_came(req):
    """Take the body of a request whose head came just before its connection was ended.

    The rest of the body may still be on its way. An answer would put the blame on its client;
    without one, by StopIteration, the client knows no more than after a crash, and sends it again.
    """
    # What a `Content-Length` announces; chunks that end early are an error.
    announced = getattr(req.body.reader, "length", 0)
    try:
        body = req.body.read(BODY_MOST_BYTES)
    except Exception:  # gunicorn has errors of several kinds for it
        raise StopIteration from None
    if len(body) < announced:
        raise StopIteration
    req.body = io.BytesIO(body)
    req.force_close()


def _end_reading(client):
    """End a connection for its reader; what has already arrived is still read, and answered."""
    # gevent's own shutdown would fail the reader instead; the operating system's ends its wait.
    native_socket = monkey.get_original("socket", "socket")
    with suppress(OSError), closing(native_socket(fileno=os.dup(client.fileno()))) as same:
        same.shutdown(socket.SHUT_RD)
