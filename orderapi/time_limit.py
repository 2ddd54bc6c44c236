"""A time limit for calls that have no complete time limit of their own.

The time-out of a socket limits each single read. It limits neither the look-up of a host's name
nor an answer whose bytes arrive one at a time.
"""

import contextvars
import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


def call_within(timeout_s: float, act: Callable[[], T]) -> T:
    """Call `act` on a thread of its own, and return its result or raise its exception.

    Raises TimeoutError if `act` takes longer than `timeout_s` seconds. `act` then continues, and
    its result is discarded. Raises OSError if no thread can be started. Then `act` is not called.
    """
    outcome: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(act))
        except Exception as error:
            outcome.set_exception(error)

    try:
        threading.Thread(target=run, name="orderapi-call", daemon=True).start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, "no thread could be started") from error
    return outcome.result(timeout=timeout_s)
