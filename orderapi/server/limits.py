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
# A cookie that another service has set for this host can be long.
FIELD_MAX_BYTES = 32_768
HEAD_MAX_BYTES = 65_536
# The time from the first byte of a head to its last byte.
HEAD_MAX_S = 60.0

# The body of a request.

# The worker reads at most this much of a body before the app runs. With one byte more than the app
# accepts, the app sees that a body is too large.
BODY_READ_MAX_BYTES = BODY_MAX_BYTES + 1
# A client that sends nothing of its body for this long is taken for one that has stopped.
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
# The worker reads at most about this much of further requests while it answers one. The rest stays
# in the kernel.
PIPELINED_MAX_BYTES = 65_536
# A client that reads nothing of its answer for this long is disconnected.
SEND_SILENCE_MAX_S = 30.0
# A client that sends all of a large body before it reads would lose the answer to a connection
# reset. Therefore the worker reads and discards at most this much before it closes the connection.
DISCARD_MAX_BYTES = 8 * 1024 * 1024
DISCARD_MAX_S = 5.0
# For this long, a worker that stops waits for requests that are on their way on idle connections.
LINGER_S = 0.5

# The worker.

# Each request that waits needs a connection. On a bad day a thousand requests wait.
CONNECTIONS_MAX = 4_000
# The readers that wait for events may have at most this part of a worker's connections. The rest is
# for requests that are answered soon.
WAITING_MAX_SHARE = 0.5
# One system call reads at most this much.
READ_MAX_BYTES = 65_536
# The time between two checks of the limits on time. With gunicorn's 1 s, a restart takes longer.
SWEEP_S = 0.1
# If more time passes between two checks, the service was stopped, or it had no processor.
SWEEP_LATE_MAX_S = 0.3

assert BODY_READ_MAX_BYTES > BODY_MAX_BYTES, "the app must see that a body is too large"
assert REQUEST_LINE_MAX_BYTES + FIELD_MAX_BYTES < HEAD_MAX_BYTES, "one long field must fit"
assert BODY_READ_MAX_BYTES * 5 < CHUNK_FRAMING_MAX_BYTES, "chunks of one byte must fit"
assert HEAD_MAX_BYTES <= PIPELINED_MAX_BYTES, "a whole head must be readable ahead"
assert BODY_SILENCE_MAX_S <= BODY_MAX_S, "the whole cannot take less time than a part"
assert SWEEP_S < SWEEP_LATE_MAX_S < LINGER_S, "an ordinary sweep must count in full"
assert WAITING_MAX_READERS <= CONNECTIONS_MAX * WAITING_MAX_SHARE, "orders need connections too"


def waiting_max_readers(connections_max: int) -> int:
    """Return how many readers may wait in a worker with at most `connections_max` connections."""
    return max(1, min(WAITING_MAX_READERS, int(connections_max * WAITING_MAX_SHARE)))
