"""The resources `/healthz` and `/readyz`: whether the process serves, and whether writes commit."""

import threading
import time

from flask import Blueprint

from orderapi.documents import dump
from orderapi.errors import StoreUnavailable
from orderapi.store.contract import Store
from orderapi.web.whole_response import WholeResponse

# A commit or the result of a probe is valid for this long. A probe also fails if it takes longer.
FRESH_S = 2.0


def blueprint(readiness: "Readiness") -> Blueprint:
    """Return the resources `/healthz` and `/readyz` of a store."""
    health = Blueprint("health", __name__)

    @health.get("/healthz")
    def show_liveness() -> WholeResponse:
        return WholeResponse(dump({"status": "ok"}))

    @health.get("/readyz")
    def show_readiness() -> WholeResponse:
        reason = readiness.why_not()
        if reason is not None:
            raise StoreUnavailable(f"the readiness probe did not commit: {reason}")
        return WholeResponse(dump({"status": "ready"}))

    return health


class Readiness:
    """Says whether writes commit. It probes the store at most once every FRESH_S seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._probing = threading.Lock()
        self._reason: str | None = None
        self._probed_at = float("-inf")

    def why_not(self) -> str | None:
        """Return why writes do not commit, or None if one committed within the last FRESH_S."""
        if self._store.seconds_since_commit() <= FRESH_S:
            return None
        # A request that arrives while a probe runs waits for the result of that probe.
        with self._probing:
            if time.monotonic() - self._probed_at > FRESH_S:
                self._reason = self._probe()
                self._probed_at = time.monotonic()
            return self._reason

    def _probe(self) -> str | None:
        try:
            self._store.write(lambda tx: tx.probe.touch(), time.monotonic() + FRESH_S)
        except StoreUnavailable as error:
            return error.reason
        return None
