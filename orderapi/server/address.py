"""Whether the server can listen at an address, said by the setting's name.

gunicorn itself tries any bad one for 5 s and never names where it comes from.
"""

import errno
import logging
import os
import socket
import time
from pathlib import Path

from orderapi.errors import SettingsInvalid

# The workers of a master that was killed die with it; one that waits for its disk, when that ends.
_LEAVING_S = 5.0
_PAUSE_S = 0.05

_log = logging.getLogger(__name__)


def refuse_unusable(bind: str) -> None:
    """Refuse an address of the form that `settings` takes, if nobody can listen there now.

    Raises SettingsInvalid.
    """
    if bind.startswith("unix:"):
        _refuse_unusable_path(Path(bind.removeprefix("unix:")))
    else:
        host, _, port = bind.rpartition(":")
        _refuse_unusable_port(host, int(port))


def _refuse_unusable_path(path: Path) -> None:
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise SettingsInvalid(f"ORDERAPI_BIND: cannot write in the directory {path.parent}")
    if path.exists() and not path.is_socket():
        raise SettingsInvalid(f"ORDERAPI_BIND: {path} is there and is not a socket")


def _refuse_unusable_port(host: str, port: int) -> None:
    give_up_at = time.monotonic() + _LEAVING_S
    has_told = False
    while (error := _why_not(host, port)) is not None:
        if getattr(error, "errno", None) != errno.EADDRINUSE or time.monotonic() > give_up_at:
            where = f"{host}:{port}: {getattr(error, 'strerror', None) or error}"
            raise SettingsInvalid(f"ORDERAPI_BIND: cannot listen on {where}") from error
        if not has_told:
            _log.info("waiting for %s:%s, which is in use", host, port)
            has_told = True
        time.sleep(_PAUSE_S)


def _why_not(host: str, port: int) -> OSError | UnicodeError | None:
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except (OSError, UnicodeError) as error:
        return error
    return None
