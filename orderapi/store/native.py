"""The operating system's own threads, also where an event loop has replaced those of Python."""

from collections.abc import Callable
from typing import Any

from gevent import monkey

native_sleep: Callable[[float], None] = monkey.get_original("time", "sleep")
# A native lock must not be held while greenlets switch.
native_lock: Callable[[], Any] = monkey.get_original("_thread", "allocate_lock")
start_native_thread: Callable[..., Any] = monkey.get_original("_thread", "start_new_thread")


def has_event_loop() -> bool:
    """Tell whether the threads of this process are the greenlets of an event loop."""
    return bool(monkey.is_module_patched("threading"))
