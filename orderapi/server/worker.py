"""gunicorn's worker of this service: it accepts connections, and stops without losing requests."""

import errno
import socket
import sys
from typing import Any

import gevent
from gevent import get_hub, monkey
from gevent.event import Event
from gunicorn import SERVER
from gunicorn.http.wsgi import base_environ
from gunicorn.workers import base

from orderapi.server.answer import Answer, CommonHeaderLines
from orderapi.server.connection import Connection
from orderapi.server.connection_table import ConnectionTable
from orderapi.server.greenlet_pool import GreenletPool
from orderapi.server.head import Environ
from orderapi.server.limits import SWEEP_S
from orderapi.server.worker_context import WorkerContext
from orderapi.web.refusals import refuse_after_failure, refuse_request

_READABLE = 1
# The errors of `accept` when the process or the machine has no descriptor or buffer left.
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_native_socket: type[socket.socket] = monkey.get_original("socket", "socket")


class Worker(base.Worker):  # type: ignore[misc] # gunicorn ships no types
    """A worker that reads HTTP with httptools, in gevent's event loop."""

    alive: bool

    def run(self) -> None:
        """Serve until `alive` is false, then wait for requests in flight, up to `graceful_timeout`.

        gunicorn calls this method. In one run on a busy machine, the gevent worker of gunicorn took
        314 microseconds of processor time for a GET of a minimal app, and this worker took 45.
        """
        hub = get_hub()
        loop = hub.loop
        self._telemetry = self.wsgi.extensions["telemetry"]
        self._connections = ConnectionTable(self.cfg.worker_connections)
        self._context = WorkerContext(
            app=self.wsgi,
            loop=loop,
            greenlets=GreenletPool(hub, Connection.answer),
            connections=self._connections,
            common_lines=CommonHeaderLines(SERVER),
            refusal=self._answer_refusal,
            failure=self._answer_failure,
            count_request=self._count_request,
        )
        self._is_accepting = True
        self._acceptors = [self._acceptor(loop, listener) for listener in self.sockets]
        self._start_accepting()
        self._ended = Event()
        timer = loop.timer(SWEEP_S, SWEEP_S)
        timer.start(self._sweep)
        self._ended.wait()
        timer.stop()
        timer.close()

    def _count_request(self) -> None:
        self.nr += 1
        if self.nr >= self.max_requests and self.alive:
            self.log.info("Autorestarting worker after current request.")
            self.alive = False

    def _acceptor(self, loop: Any, listener: Any) -> tuple[Any, socket.socket, Environ]:
        """Return a listener's watcher, its native socket, and the environ of its connections."""
        native = _native_socket(listener.FAMILY, socket.SOCK_STREAM, fileno=listener.sock.detach())
        native.setblocking(False)
        environ: Environ = base_environ(self.cfg)
        del environ["wsgi.file_wrapper"]
        environ |= {"wsgi.url_scheme": "http", "SCRIPT_NAME": ""}
        if native.family != socket.AF_UNIX:
            host, port = native.getsockname()[:2]
            environ |= {"SERVER_NAME": host, "SERVER_PORT": str(port)}
        return loop.io(native.fileno(), _READABLE), native, environ

    def _start_accepting(self) -> None:
        self._is_accepting = True
        for watcher, native, environ in self._acceptors:
            watcher.start(self._accept, native, environ)

    def _stop_accepting(self) -> None:
        self._is_accepting = False
        for watcher, _, _ in self._acceptors:
            watcher.stop()

    def _accept(self, listener: socket.socket, base_of_listener: Environ) -> None:
        """Accept one connection. It is only one, so that the other workers get connections too."""
        if not self._connections.make_room():
            self._stop_accepting()
            return
        try:
            sock, address = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster, or the client has left
        except OSError as error:
            # There is no room, or the network has failed. The next sweep tries to accept again.
            if error.errno not in _NO_ROOM or not self._connections.close_longest_idle():
                self._stop_accepting()
            return
        sock.setblocking(False)
        environ = base_of_listener.copy()
        if isinstance(address, tuple):
            environ |= {"REMOTE_ADDR": address[0], "REMOTE_PORT": str(address[1])}
        else:
            # The peer of a unix socket has no address.
            environ["REMOTE_ADDR"] = ""
        Connection(self._context, sock, environ)

    def _sweep(self) -> None:
        """Do the work that is due every SWEEP_S seconds."""
        self.notify()
        self._telemetry.sample()
        connections = self._connections
        if not self.alive and not connections.is_stopping:
            self._stop()
        connections.sweep(self.cfg.keepalive)
        stopping_since_s = connections.stopping_since_s
        if stopping_since_s is not None:
            is_over = connections.clock_s - stopping_since_s > self.cfg.graceful_timeout
            if is_over:
                self.log.warning("Worker graceful timeout (pid:%s)", self.pid)
            if is_over or not connections.all:
                self._ended.set()
        elif not self._is_accepting and connections.make_room():
            self._start_accepting()

    def _stop(self) -> None:
        self._connections.stop()
        self._stop_accepting()
        for watcher, native, _ in self._acceptors:
            watcher.close()
            native.close()

    def _answer_refusal(self, reason: str, sent_request_id: str, address: str) -> Answer:
        return Answer(*refuse_request(self._telemetry, reason, sent_request_id, address))

    def _answer_failure(self, environ: Environ) -> Answer:
        return Answer(*refuse_after_failure(self._telemetry, environ))

    def handle_quit(self, sig: int, frame: Any) -> None:
        """End soon. The method of gunicorn sleeps, so it runs in a greenlet of its own."""
        gevent.spawn(super().handle_quit, sig, frame)

    def handle_usr1(self, sig: int, frame: Any) -> None:
        """Reopen log files, in a greenlet, because the interrupted code may hold their locks."""
        gevent.spawn(super().handle_usr1, sig, frame)

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse settings of gunicorn that this worker does not implement. gunicorn calls this.

        Raises SystemExit if one of these settings is used.
        """
        unsupported = {
            "certfile": cfg.is_ssl,
            "proxy_protocol": cfg.proxy_protocol != "off",
            "accesslog": cfg.accesslog is not None,
        }
        for name, is_set in unsupported.items():
            if is_set:
                log.critical("cannot start: this worker does not implement gunicorn's %s", name)
                sys.exit(1)
