"""The operating system's own threads, also where an event loop has replaced those of Python."""

import _thread
import sys
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

# gevent patches Python before anything else is imported. A command starts faster without gevent, so
# nothing is imported here that the process has not loaded.
_monkey: ModuleType | None = sys.modules.get("gevent.monkey")


def _original(module: ModuleType, name: str) -> Any:
    """Return a function of Python as it is where no event loop has replaced it."""
    return _monkey.get_original(module.__name__, name) if _monkey else getattr(module, name)


native_sleep: Callable[[float], None] = _original(time, "sleep")
# A native lock must not be held while greenlets switch.
native_lock: Callable[[], Any] = _original(_thread, "allocate_lock")
start_native_thread: Callable[..., Any] = _original(_thread, "start_new_thread")


def has_event_loop() -> bool:
    """Tell whether the threads of this process are the greenlets of an event loop."""
    return _monkey is not None and bool(_monkey.is_module_patched("threading"))
