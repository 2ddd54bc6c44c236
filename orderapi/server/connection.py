"""One connection of a client. Its requests are read and answered one after another.

The event loop calls the methods of a connection. Only the app runs in a greenlet, after the whole
request has arrived. Therefore the app never waits for the client.
"""

import logging
import socket
import time

from orderapi.server import timing
from orderapi.server.answer import encode_answer, join_answer, run_app
from orderapi.server.head import NO_HEAD, Environ
from orderapi.server.head_grammar import RequestRefused
from orderapi.server.limits import DISCARD_MAX_BYTES, HEAD_MAX_S, PIPELINED_MAX_BYTES
from orderapi.server.reader import BODY, HEAD, IDLE, Request, RequestReader
from orderapi.server.states import CLOSED, DISCARDING, HANDLING, READING, SENDING
from orderapi.server.transport import Transport
from orderapi.server.worker_context import WorkerContext
from orderapi.web import this_request

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_log = logging.getLogger(__name__)


class Connection:
    """One client's connection, from its first byte to its end.

    `context` is what all connections of the worker share. `base` contains the entries that the
    environ of each request of this connection has.
    """

    __slots__ = (
        "_address",
        "_client_has_ended",
        "_client_wait",
        "_connections",
        "_context",
        "_discarded_bytes",
        "_has_unread_body",
        "_head",
        "_is_kept",
        "_reader",
        "_state",
        "_transport",
    )

    def __init__(self, context: WorkerContext, sock: socket.socket, base: Environ) -> None:
        self._context = context
        self._connections = context.connections
        self._address = base["REMOTE_ADDR"]
        self._reader = RequestReader(base)
        # Whether the client has closed its sending side. It may still read its answers.
        self._client_has_ended = False
        self._has_unread_body = False
        self._head = NO_HEAD
        self._is_kept = True
        self._discarded_bytes = 0
        self._client_wait = timing.ClientWait(self._connections)
        self._state = READING
        self._transport = Transport(context.loop, sock, self.read, self._sent_more)
        self._connections.all.add(self)
        self._connections.idle[self] = self._connections.clock_s

    def read(self) -> None:
        """Read the bytes that have arrived, if there are any, and handle them."""
        try:
            data = self._transport.receive()
            if data:
                self._handle_bytes(data)
            elif data is not None:
                self._end_of_input()
        except OSError:  # the client has reset the connection
            self._end_of_input()
        except Exception:
            self._fail()

    def _fail(self) -> None:
        """Close this connection after a bug in this code, so that the event loop continues."""
        _log.exception("unexpected error in the HTTP server; one connection was closed")
        self.close()

    def _handle_bytes(self, data: bytes) -> None:
        # While an answer is being sent, the client is active only if it reads that answer.
        if self._state != SENDING:
            self._client_wait.note_activity()
        if self._state == READING:
            self._read_request(data)
        elif self._state == DISCARDING:
            self._discarded_bytes += len(data)
            if self._discarded_bytes > DISCARD_MAX_BYTES:
                self.close()
        elif self._state != CLOSED and self._reader.keep_for_later(data) >= PIPELINED_MAX_BYTES:
            self._transport.pause()

    def _read_request(self, data: bytes) -> None:
        reader = self._reader
        phase = reader.phase
        try:
            request = reader.feed(data)
        except RequestRefused as refused:
            self._refuse(str(refused))
            return
        if request is None and reader.phase != phase:
            self._begin_wait()
            if reader.expects_continue:
                self._transport.send(_CONTINUE)
        elif request is not None:
            if phase != BODY and request.head.expects_continue and not request.is_last:
                self._transport.send(_CONTINUE)
            self._run(request)

    def _end_of_input(self) -> None:
        if self._state == CLOSED:
            return
        self._client_has_ended = True
        self._transport.pause()
        if self._state == DISCARDING:
            self.close()
        # If whole requests have arrived, they are answered before the connection ends.
        elif self._state == READING and (self._reader.phase != IDLE or not self._reader.has_more):
            self._end_reading()

    def _end_reading(self) -> None:
        try:
            request = self._reader.end()
        except RequestRefused as refused:
            self._refuse(str(refused))
            return
        if request is None:
            self.close()
        else:
            self._run(request)

    def _begin_wait(self) -> None:
        """Begin to wait for the client in the middle of a request or of an answer."""
        self._client_wait.begin()
        self._connections.idle.pop(self, None)
        self._connections.timed[self] = None

    def _run(self, request: Request) -> None:
        """Let the app handle the request in a greenlet."""
        self._state = HANDLING
        self._has_unread_body = request.is_last
        self._is_kept = request.head.keeps_alive and not request.is_last
        self._connections.idle.pop(self, None)
        self._connections.timed.pop(self, None)
        environ = request.head.environ
        environ["wsgi.input"] = request.body
        environ[this_request.WHOLE_AT] = time.monotonic()
        self._context.count_request()
        self._head = request.head
        self._context.greenlets.run(self)

    def answer(self) -> None:
        """Run the app and send its answer. This is called in a greenlet."""
        context = self._context
        try:
            encoded = run_app(context.app, self._head, context.common_lines, context.failure)
            self._send_last(encoded)
        except Exception:
            self._fail()

    def _refuse(self, reason: str) -> None:
        """Answer a request that cannot be read. The connection ends after the answer."""
        answer = self._context.refusal(reason, self._reader.sent_request_id, self._address)
        self._is_kept = False
        self._has_unread_body = True
        self._send_last(encode_answer(answer, NO_HEAD, self._context.common_lines))

    def _send_last(self, encoded: tuple[bytes, bytes]) -> None:
        """Send the final answer to a request."""
        # The answer says whether the connection is kept, so this is decided before it is sent.
        self._is_kept = self._is_kept and not self._connections.is_stopping
        try:
            is_sent = self._transport.send(join_answer(encoded, keeps_alive=self._is_kept))
        except OSError:  # the client is gone
            self.close()
            return
        if is_sent:
            self._continue_or_end()
        else:
            self._state = SENDING
            self._begin_wait()

    def _sent_more(self) -> None:
        self._client_wait.note_activity()
        if self._state == SENDING and not self._transport.has_unsent:
            self._continue_or_end()

    def _continue_or_end(self) -> None:
        """After an answer, begin to read the next request, or end the connection."""
        if not self._is_kept:
            self._end()
            return
        self._state = READING
        self._connections.timed.pop(self, None)
        if self._reader.has_more:
            # The event loop serves the other connections first. So a client that sends many
            # requests at once does not delay the other clients.
            self._context.loop.run_callback(self._read_next)
        elif self._client_has_ended:
            self.close()
        else:
            self._connections.idle[self] = self._connections.clock_s

    def _read_next(self) -> None:
        if self._state != READING or self._reader.phase != IDLE or not self._reader.has_more:
            return  # more bytes have arrived meanwhile, and the request was read with them
        try:
            self._read_request(b"")
            if not self._client_has_ended:
                self._transport.resume()
            elif self._state == READING:
                self._end_reading()
        except Exception:
            self._fail()

    def _end(self) -> None:
        """End the connection after its last answer, so that the client gets the whole answer.

        If a socket is closed while it has unread bytes, the kernel resets the connection, and the
        client may lose the part of the answer that it has not read. Therefore the worker only
        closes its sending side, and discards what the client still sends.
        """
        if self._client_has_ended or not (self._has_unread_body or self._reader.has_more):
            self.close()
            return
        self._state = DISCARDING
        self._begin_wait()
        self._transport.end_sending()
        self._transport.resume()

    def close(self) -> None:
        """Close the connection at once."""
        if self._state == CLOSED:
            return
        self._state = CLOSED
        self._transport.close()
        self._connections.all.discard(self)
        self._connections.idle.pop(self, None)
        self._connections.timed.pop(self, None)

    def close_if_idle(self) -> bool:
        """Close the connection if it is idle, and return whether it is closed.

        Bytes that have already arrived are read first, so that no request is lost.
        """
        if self._is_idle():
            self.read()
            if self._is_idle():
                self.close()
        return self._state == CLOSED

    def _is_idle(self) -> bool:
        is_between = self._reader.phase == IDLE and not self._reader.has_more
        return is_between and self._state == READING

    def waits_for_head(self) -> bool:
        """Return whether the connection waits for the rest of a head."""
        return self._state == READING and self._reader.phase == HEAD

    def enforce_time_limits(self) -> None:
        """End the connection if the client has exceeded a limit on time."""
        try:
            if self._is_late() and self._state == READING:
                # The client is not silent if its bytes arrived while this process was not running.
                self.read()
            if self._is_late():
                self._time_out()
        except Exception:
            self._fail()

    def _is_late(self) -> bool:
        return self._client_wait.exceeds(self._state, reads_head=self._reader.phase == HEAD)

    def _time_out(self) -> None:
        """Refuse or cut short the request of a client that is too slow, or close the connection.

        A worker that is stopping closes the connection without an answer. Then the client knows
        that it must send the request again.
        """
        if self._state != READING or self._connections.is_stopping:
            self.close()
        elif self._reader.phase == HEAD:
            self._refuse(f"The head of the request did not arrive within {HEAD_MAX_S:g} s.")
        else:
            self._run(self._reader.cut_short())
