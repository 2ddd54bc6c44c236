"""Who may see the pages: the browser that opened a link with a one-time secret, on this machine.

The console has no user names. The operator starts it in a terminal, which shows a link. The secret
in the link works once. The browser then has a cookie, which is valid until the console ends.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

SECRET_BYTES = 32
# A few operators use a few browsers. The limit bounds the memory that the sessions take.
SESSIONS_MAX = 100
ENTRY_PATH = "/enter"

# Only these names can reach a server on the loopback address. A page of another site that lets its
# own name point to this address (DNS rebinding) sends its own name in `Host`.
_HOST_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})


class Access:
    """The secrets of one console. Any thread may call its methods.

    `announce` shows a link to the operator. It receives the path and the query of the link.
    """

    def __init__(self, announce: Callable[[str], None]) -> None:
        self._announce = announce
        self._lock = threading.Lock()
        self._secret = ""
        self._sessions: list[str] = []

    def announce_link(self) -> None:
        """Make a new one-time secret, and show the link with it to the operator."""
        with self._lock:
            self._secret = secrets.token_urlsafe(SECRET_BYTES)
            link = f"{ENTRY_PATH}?secret={self._secret}"
        self._announce(link)

    def enter(self, secret: str) -> str | None:
        """Exchange the one-time secret for the value of a cookie. None if the secret is not valid.

        The secret is void after that, and the operator is shown a link with a new one.
        """
        with self._lock:
            if not self._secret or not _is_equal(secret, self._secret):
                return None
            self._secret = ""
            session = secrets.token_urlsafe(SECRET_BYTES)
            self._sessions = [*self._sessions[-SESSIONS_MAX + 1 :], session]
        self.announce_link()
        return session

    def is_known(self, session: str) -> bool:
        """Tell whether a cookie has a value that `enter` gave."""
        return any(_is_equal(session, known) for known in self._sessions)


def cookie_name(host: str) -> str:
    """Return the name of the cookie for a value of `Host`.

    A browser sends a cookie to every port of a machine. With the port in its name, two consoles
    keep their cookies apart, also when both are reached through tunnels.
    """
    return f"orderapi-console-{urlsplit(f'//{host}').port or 80}"


def is_own_host(host: str) -> bool:
    """Tell whether a value of `Host` names the loopback address; a tunnel may have any port."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError if this is not a port
    except ValueError:
        return False
    return parts.netloc == host and "@" not in host and parts.hostname in _HOST_NAMES


def is_own_origin(origin: str | None, host: str) -> bool:
    """Tell whether a request comes from a page of this console, or from no page at all."""
    return origin is None or origin == f"http://{host}"


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
