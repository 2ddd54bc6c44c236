"""Decides which browser may see the pages: one that opened a link with a one-time secret.

The console has no user names. The operator starts it in a terminal, which shows a link. The secret
in the link works once. The browser then has a cookie, which is valid until the console ends.
"""

import hmac
import secrets
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

SECRET_BYTES = 32
# A console has a few operators with a few browsers. This maximum limits the memory for sessions.
SESSIONS_MAX = 100
ENTRY_PATH = "/enter"

# A request is accepted only if `Host` has one of these names. If another site makes its own name
# point to the loopback address (DNS rebinding), the browser sends that name in `Host`.
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

        After that, the secret is no longer valid, and the operator gets a link with a new one.
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
        """Return whether the value of a cookie was returned by `enter`."""
        return any(_is_equal(session, known) for known in self._sessions)


def cookie_name(host: str) -> str:
    """Return the name of the cookie for a value of `Host`.

    A browser sends a cookie to every port of a machine. Two consoles on one machine need different
    cookies, so the name contains the port. This also works through tunnels.
    """
    return f"orderapi-console-{urlsplit(f'//{host}').port or 80}"


def is_own_host(host: str) -> bool:
    """Return whether a value of `Host` is the loopback address. A tunnel may have any port."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError if this is not a port
    except ValueError:
        return False
    return parts.netloc == host and "@" not in host and parts.hostname in _HOST_NAMES


def is_own_origin(origin: str | None, host: str) -> bool:
    """Return whether a request comes from a page of this console, or not from a page."""
    return origin is None or origin == f"http://{host}"


def _is_equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors="replace"), expected.encode())
