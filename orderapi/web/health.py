"""Health: does the process serve, and do writes commit."""

import threading
import time

from flask import Blueprint, Response

from orderapi.documents import dump
from orderapi.errors import StoreUnavailable
from orderapi.store.contract import Store
from orderapi.web.lean import Answer

# A commit or a verdict this young speaks for the store; a probe gets as long to commit.
FRESH_S = 2.0


def blueprint(store: Store) -> Blueprint:
    """Give the resources `/healthz` and `/readyz` on a store."""
    health = Blueprint("health", __name__)
    readiness = Readiness(store)

    @health.get("/healthz")
    def show_liveness() -> Response:
        return Answer(dump({"status": "ok"}))

    @health.get("/readyz")
    def show_readiness() -> Response:
        if not readiness.is_ready():
            raise StoreUnavailable("the readiness probe did not commit")
        return Answer(dump({"status": "ready"}))

    return health


class Readiness:
    """Whether writes commit, asked of the store at most once every FRESH_S seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._probing = threading.Lock()
        self._verdict = False
        self._probed_at = float("-inf")

    def is_ready(self) -> bool:
        """Tell whether a write committed within the last FRESH_S seconds, or does so now."""
        if self._store.seconds_since_commit() <= FRESH_S:
            return True
        # Whoever comes while a probe runs waits for its verdict.
        with self._probing:
            if time.monotonic() - self._probed_at > FRESH_S:
                self._verdict = self._probe()
                self._probed_at = time.monotonic()
            return self._verdict

    def _probe(self) -> bool:
        try:
            self._store.write(lambda tx: tx.probe.touch(), time.monotonic() + FRESH_S)
        except StoreUnavailable:
            return False
        return True
