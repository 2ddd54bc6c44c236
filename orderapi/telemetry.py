"""Counts requests and commits, for Prometheus. This module uses neither Flask nor the store.

The server counts in files that all its workers share (`server/metric_files.py`). Commands and tests
count in their own memory. No caller can choose the value of a label: each value comes from a list
in the code.
"""

import os
from collections.abc import Callable
from functools import partial

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.multiprocess import MultiProcessCollector

# The environment variable in which prometheus-client expects the directory of the shared files.
DIRECTORY_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"

# The route of a request that no route of this service matches, and the method of a request that
# uses none of the usual ones.
NO_ROUTE = "none"
OTHER_METHOD = "other"
METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})

_REQUEST_BUCKETS_S = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
_COMMIT_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
_BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128)

_STORE_ERRORS_HELP = (
    "Number of requests that failed because the database could not be used. The label "
    "'kind' is 'temporary', 'foreign' (not a database of this service) or 'damaged'."
)
_TOKENS_REFUSED_HELP = (
    "Number of requests that were refused because of their token. The label 'reason' is "
    "'unauthorized' (no valid token) or 'insufficient-scope'."
)

disable_created_metrics()


class Telemetry:
    """The counters of one process.

    If there is no room for the files of a worker, it calls `stop_counting`. It then serves requests
    without counting them.
    """

    def __init__(self) -> None:
        self._is_counting = True
        # The series of each route, method and class of status that has occurred. Finding a series
        # here takes a tenth of the time of a call of `labels`.
        self._requests_by_kind: dict[tuple[str | None, str, int], Histogram] = {}
        self._queue_length: Callable[[], int] = _zero
        self._waiting_readers: Callable[[], int] = _zero
        self._sampled: tuple[int, int] | None = None
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry, multiprocess_mode="livesum")
        self._requests = histogram(
            "orderapi_request_duration_seconds",
            "Seconds from the arrival of a request to its answer.",
            ["route", "method", "status_class"],
            buckets=_REQUEST_BUCKETS_S,
        )
        self._orders_created = counter(
            "orderapi_orders_created", "Number of requests that created an order."
        )
        self._replays = counter(
            "orderapi_replays", "Number of requests that got the saved answer of their key again."
        )
        self._conflicts = counter(
            "orderapi_conflicts",
            "Number of requests that were refused because their key belongs to another payload.",
        )
        self._store_errors = counter(
            "orderapi_store_errors",
            _STORE_ERRORS_HELP,
            ["kind"],
        )
        self._tokens_refused = counter(
            "orderapi_tokens_refused",
            _TOKENS_REFUSED_HELP,
            ["reason"],
        )
        self._batch_sizes = histogram(
            "orderapi_commit_batch_size",
            "Number of writes that shared one commit.",
            buckets=_BATCH_BUCKETS,
        )
        self._commit_durations = histogram(
            "orderapi_commit_duration_seconds",
            "Seconds that a commit took, until it was on stable storage.",
            buckets=_COMMIT_BUCKETS_S,
        )
        self._lock_waits = histogram(
            "orderapi_write_lock_wait_seconds",
            "Seconds that a batch of writes waited until no other process wrote to the database.",
            buckets=_COMMIT_BUCKETS_S,
        )
        self._queue_gauge = gauge(
            "orderapi_write_queue_length", "Number of writes that wait for their commit now."
        )
        self._readers_gauge = gauge(
            "orderapi_waiting_readers",
            "Number of readers of events that wait for the next event now.",
        )

    def count_request(self, route: str | None, method: str, status: int, duration_s: float) -> None:
        """Count a request that was answered.

        `route` is the rule of Flask that the request matched, such as `/orders/<order_id>`, or None
        if it matched no rule.
        """
        if not self._is_counting:
            return
        kind = (route, method if method in METHODS else OTHER_METHOD, status // 100)
        series = self._requests_by_kind.get(kind) or self._add_requests(kind)
        series.observe(duration_s)

    def count_reply(self, *, is_replayed: bool) -> None:
        """Count a request that created an order, or that got its first answer again."""
        if self._is_counting:
            (self._replays if is_replayed else self._orders_created).inc()

    def count_conflict(self) -> None:
        """Count a request whose key belongs to another payload."""
        if self._is_counting:
            self._conflicts.inc()

    def count_store_error(self, kind: str) -> None:
        """Count a request that failed because of the store. `kind` comes from an enumeration."""
        if self._is_counting:
            self._store_errors.labels(kind).inc()

    def count_refused_token(self, reason: str) -> None:
        """Count a request that was refused because of its token.

        `reason` comes from a list in the code. It contains no part of the token.
        """
        if self._is_counting:
            self._tokens_refused.labels(reason).inc()

    def note_batch(self, size: int, commit_s: float) -> None:
        """Count the writes of a commit, and how long it took. Do not call it on a native thread."""
        if self._is_counting:
            self._batch_sizes.observe(size)
            self._commit_durations.observe(commit_s)

    def note_lock_wait(self, wait_s: float) -> None:
        """Note how long a batch waited for other processes. Do not call it on a native thread."""
        if self._is_counting:
            self._lock_waits.observe(wait_s)

    def watch(self, *, queue_length: Callable[[], int], waiting_readers: Callable[[], int]) -> None:
        """Set the functions from which `sample` reads how many writes and readers wait."""
        self._queue_length, self._waiting_readers = queue_length, waiting_readers

    def sample(self) -> None:
        """Publish how many writes and readers wait now. A worker calls this ten times a second."""
        waiting = self._queue_length(), self._waiting_readers()
        if waiting != self._sampled and self._is_counting:
            self._sampled = waiting
            self._queue_gauge.set(waiting[0])
            self._readers_gauge.set(waiting[1])

    def stop_counting(self) -> None:
        """Count nothing from now on in this process."""
        self._is_counting = False

    def registry(self) -> CollectorRegistry:
        """Return the counts of all workers, or of this process alone if it is not a server."""
        directory = os.environ.get(DIRECTORY_VARIABLE)
        if directory is None:
            return self._registry
        shared = CollectorRegistry()
        MultiProcessCollector(shared, directory)
        return shared

    def _add_requests(self, kind: tuple[str | None, str, int]) -> Histogram:
        route, method, hundreds = kind
        template = NO_ROUTE if route is None else _template(route)
        series = self._requests.labels(template, method, f"{hundreds}xx")
        self._requests_by_kind[kind] = series
        return series


def _template(rule: str) -> str:
    """Write a rule of Flask as the API document writes it: `/orders/{order_id}`."""
    return rule.replace("<path:", "{").replace("<", "{").replace(">", "}")


def _zero() -> int:
    return 0
