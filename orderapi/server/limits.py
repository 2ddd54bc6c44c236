"""Every limit of the HTTP server, and why it has its size.

A limit on time counts only the time in which the service itself was running. The attribute
`clock_s` of `ConnectionTable` measures this time.
"""

from orderapi.events.places import WAITING_MAX_READERS
from orderapi.web.orders import BODY_MAX_BYTES

# The head of a request.

# This is the maximum of gunicorn. Every request line of this API is much shorter.
REQUEST_LINE_MAX_BYTES = 8190
# This is the default of gunicorn.
FIELDS_MAX = 100
# A browser may send a long cookie that another service has set for this host.
FIELD_MAX_BYTES = 32_768
HEAD_MAX_BYTES = 65_536
# The time from the first byte of a head to its last byte.
HEAD_MAX_S = 60.0

# The body of a request.

# The worker reads at most this many bytes of a body before the app runs. This is one byte more than
# the app accepts, so the app can see that a body is too large.
BODY_READ_MAX_BYTES = BODY_MAX_BYTES + 1
# If a client sends no byte of its body for this long, the worker waits no longer for the rest.
BODY_SILENCE_MAX_S = 5.0
# The time from the last byte of the head to the last byte of the body.
BODY_MAX_S = 60.0
# The line with a chunk's size and its extensions. No known client sends extensions.
CHUNK_LINE_MAX_BYTES = 1024
# One trailer field, after the last chunk. Trailer fields are checked and discarded.
TRAILER_MAX_BYTES = 8192
# All bytes of a chunked body that are not data. If each byte of data is a chunk of its own, there
# are 5 such bytes for each byte of data.
CHUNK_FRAMING_MAX_BYTES = 131_072

# Between requests.

# nginx keeps its upstream connections for 60 s. The side that sends requests should close first.
IDLE_MAX_S = 75
# While the worker answers a request, it reads at most about this many bytes of the next requests on
# the same connection. The rest stays in the kernel.
PIPELINED_MAX_BYTES = 65_536
# If a client reads no byte of its answer for this long, the worker closes the connection.
SEND_SILENCE_MAX_S = 30.0
# Some clients send the whole of a large body before they read the answer. If the worker closed the
# connection at once, such a client would lose the answer, because the kernel resets the connection.
# Therefore the worker first reads and discards at most this many bytes.
DISCARD_MAX_BYTES = 8 * 1024 * 1024
DISCARD_MAX_S = 5.0
# A worker that stops waits this long for requests that clients may already have sent on idle
# connections.
LINGER_S = 0.5

# The worker.

# Each waiting request needs a connection. When the store is slow, a thousand requests may wait.
CONNECTIONS_MAX = 4_000
# Readers that wait for events may use at most this part of a worker's connections. The rest is for
# requests that are answered soon.
WAITING_MAX_SHARE = 0.5
# One system call reads at most this many bytes.
READ_MAX_BYTES = 65_536
# The time between two checks of the limits on time. With 1 s, as in gunicorn, a restart would take
# longer.
SWEEP_S = 0.1
# If more time passes between two checks, the process was suspended, or it had no processor.
SWEEP_LATE_MAX_S = 0.3

assert BODY_READ_MAX_BYTES > BODY_MAX_BYTES, "the app must see that a body is too large"
assert REQUEST_LINE_MAX_BYTES + FIELD_MAX_BYTES < HEAD_MAX_BYTES, "one long field must fit"
assert BODY_READ_MAX_BYTES * 5 < CHUNK_FRAMING_MAX_BYTES, "chunks of one byte must fit"
assert HEAD_MAX_BYTES <= PIPELINED_MAX_BYTES, "a whole head must fit into what is read ahead"
assert BODY_SILENCE_MAX_S <= BODY_MAX_S, "a silence is a part of the time for a body"
assert SWEEP_S < SWEEP_LATE_MAX_S < LINGER_S, (
    "the clock must count the whole time between two sweeps"
)
assert WAITING_MAX_READERS <= CONNECTIONS_MAX * WAITING_MAX_SHARE, (
    "some connections must be left for orders"
)


def waiting_max_readers(connections_max: int) -> int:
    """Return how many readers may wait in a worker with at most `connections_max` connections."""
    return max(1, min(WAITING_MAX_READERS, int(connections_max * WAITING_MAX_SHARE)))
