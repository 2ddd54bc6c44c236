"""The states of a connection."""

# READING: it waits for a request, or reads one.
# HANDLING: the app handles a request.
# SENDING: the client has not read the whole answer yet.
# DISCARDING: the last answer was sent, and what the client still sends is discarded.
# CLOSED: the connection is closed.
READING, HANDLING, SENDING, DISCARDING, CLOSED = range(5)
