"""Every limit of the HTTP server, in one place, with the reason for its size.

A limit on time counts only the time in which the service itself was running: see `Roster.clock_s`.
"""

from orderapi.web.orders import BODY_MAX_BYTES

# The head of a request.

# gunicorn's own maximum. The path and the query of every request of this API fit several times.
REQUEST_LINE_MAX_BYTES = 8190
# gunicorn's own default.
FIELDS_MAX = 100
# Cookies and tokens that some other service set for this host can be long.
FIELD_MAX_BYTES = 32_768
HEAD_MAX_BYTES = 65_536
# The time from the first byte of a head to its last.
HEAD_MAX_S = 60.0

# The body of a request.

# The worker reads so much of a body before the app runs. One byte more than the app accepts is
# enough for the app to see that a body is too large.
BODY_READ_MAX_BYTES = BODY_MAX_BYTES + 1
# A client that sends no byte of its body for so long has stopped.
BODY_SILENCE_MAX_S = 5.0
# The time from the last byte of the head to the last byte of the body.
BODY_MAX_S = 60.0
# A chunk's size and its extensions. No known client sends extensions.
CHUNK_LINE_MAX_BYTES = 1024
# The fields behind the last chunk. They are checked and discarded.
TRAILER_MAX_BYTES = 8192
# Sizes, extensions, line ends and trailers of all chunks together. A body in which each byte is a
# chunk of its own needs 5 bytes for each of them.
CHUNK_FRAMING_MAX_BYTES = 131_072

# Between requests.

# nginx keeps its upstream connections for 60 s, and the side that calls should close first.
IDLE_MAX_S = 75
# What may be read of further requests while one is being answered. More stays in the kernel.
PIPELINED_MAX_BYTES = 65_536
# Clients that read nothing of their answer for so long are disconnected.
SEND_SILENCE_MAX_S = 30.0
# A client that sends all of a large body before it reads would lose the answer to a connection
# reset, so the worker goes on reading what it discards. Beyond this the connection is cut off.
DISCARD_MAX_BYTES = 8 * 1024 * 1024
DISCARD_MAX_S = 5.0
# How long a stopping worker still reads from idle connections, for a request on its way.
LINGER_S = 0.5

# The worker.

# One system call reads so much at most.
READ_MAX_BYTES = 65_536
# How often limits on time are checked. gunicorn's own steps of 1 s would make a restart longer.
SWEEP_S = 0.1
# A sweep that comes later than this was held up: the service was stopped, or had no processor.
SWEEP_LATE_MAX_S = 0.3

assert BODY_READ_MAX_BYTES > BODY_MAX_BYTES, "the app must see that a body is too large"
assert REQUEST_LINE_MAX_BYTES + FIELD_MAX_BYTES < HEAD_MAX_BYTES, "one long field must fit"
assert BODY_READ_MAX_BYTES * 5 < CHUNK_FRAMING_MAX_BYTES, "chunks of one byte must fit"
assert HEAD_MAX_BYTES <= PIPELINED_MAX_BYTES, "a whole head must be readable ahead"
assert BODY_SILENCE_MAX_S <= BODY_MAX_S, "the whole cannot take less time than a part"
assert SWEEP_S < SWEEP_LATE_MAX_S < LINGER_S, "an ordinary sweep must count in full"
