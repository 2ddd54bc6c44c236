"""Checks whether the service can listen at its address. A refusal names the setting.

gunicorn itself tries an unusable address for 5 s, and its message does not name the setting. It
also removes the file of a unix socket at which another service listens.
"""

import errno
import fcntl
import logging
import os
import socket
import time
from pathlib import Path

from orderapi.errors import SettingsInvalid

# When the master has been killed, its workers keep the address until they end. A worker cannot end
# while it waits for an fsync. A start waits at most this time for the address.
_LEAVING_MAX_S = 5.0
_PAUSE_S = 0.05
_NAME = "ORDERAPI_BIND"

_log = logging.getLogger(__name__)


class Address:
    """The address in `ORDERAPI_BIND`, in a form that `orderapi.settings` accepts."""

    def __init__(self, bind: str) -> None:
        self._bind = bind
        self._is_path = bind.startswith("unix:")
        self._path = Path(bind.removeprefix("unix:"))
        self._directory: int | None = None

    def reserve(self) -> None:
        """Wait until no process listens at the address. For a unix socket, make other starts wait.

        Raises SettingsInvalid if another process still listens, or if the address is unusable.
        """
        if self._is_path:
            self._check_path()
            # Two starts at the same time would both find an unused socket file, and the later start
            # would remove the new socket of the earlier one. The lock on the directory prevents
            # this until this process listens.
            self._directory = _lock_directory(self._path.parent)
        self._wait_until_free()

    def release(self) -> None:
        """Let other starts continue. This method is called when this service listens."""
        if self._directory is not None:
            os.close(self._directory)
            self._directory = None

    def _check_path(self) -> None:
        if not os.access(self._path.parent, os.W_OK | os.X_OK):
            raise SettingsInvalid(_NAME, f"cannot write in the directory {self._path.parent}")
        if self._path.exists() and not self._path.is_socket():
            raise SettingsInvalid(_NAME, f"{self._path} exists and is not a socket")

    def _wait_until_free(self) -> None:
        give_up_at = time.monotonic() + _LEAVING_MAX_S
        is_logged = False
        while (error := self._find_obstacle()) is not None:
            if getattr(error, "errno", None) != errno.EADDRINUSE or time.monotonic() > give_up_at:
                why = getattr(error, "strerror", None) or error
                where = self._bind.removeprefix("unix:")
                raise SettingsInvalid(_NAME, f"cannot listen on {where}: {why}") from error
            if not is_logged:
                _log.info("another process listens at %s; this start waits for it", self._bind)
                is_logged = True
            time.sleep(_PAUSE_S)

    def _find_obstacle(self) -> OSError | UnicodeError | None:
        """Return the error that a process would get which listens now, or None if there is none."""
        try:
            if self._is_path:
                _fail_if_served(self._path)
            else:
                _fail_if_taken(self._bind)
        except (OSError, UnicodeError) as error:
            return error
        return None


def _lock_directory(directory: Path) -> int:
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        raise SettingsInvalid(_NAME, f"{directory}: {error.strerror}") from error
    return descriptor


def _fail_if_served(path: Path) -> None:
    """Raise OSError if a process listens at the path of a unix socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return
        except BlockingIOError:
            pass  # a process listens, and more clients wait than it accepts
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _fail_if_taken(bind: str) -> None:
    """Raise OSError or UnicodeError if this process cannot listen at a host and a port."""
    host, _, port = bind.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((host.strip("[]"), int(port)))
