"""The parts of a worker that all its connections share."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orderapi.server.answer import Answer, CommonHeaderLines, FailureAnswer
from orderapi.server.connection_table import ConnectionTable
from orderapi.server.greenlet_pool import GreenletPool

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# A function that returns the answer to a request that cannot be read. Its parameters are the
# reason, the X-Request-ID that the request sent (or an empty string), and the client's address.
Refusal = Callable[[str, str, str], Answer]


@dataclass(frozen=True, slots=True)
class WorkerContext:
    """The app, and the parts of the worker that each connection uses.

    `loop` is gevent's event loop. `refusal` returns the answer to a request that cannot be read,
    and `failure` returns the answer when the app fails. `count_request` is called for each request
    that the app gets.
    """

    app: "WSGIApplication"
    loop: Any
    greenlets: GreenletPool
    connections: ConnectionTable
    common_lines: CommonHeaderLines
    refusal: Refusal
    failure: FailureAnswer
    count_request: Callable[[], None]
