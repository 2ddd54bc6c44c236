"""Metrics: the resource `/metrics`, which monitors read as Prometheus text.

All values are read from the store. Therefore every worker gives the same answer, and each value is
the sum over all workers.
"""

import time
from collections.abc import Iterator
from datetime import datetime

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orderapi.records import RelayState
from orderapi.store.contract import Store
from orderapi.web.lean import Answer


def blueprint(store: Store) -> Blueprint:
    """Return the resource `/metrics` of a store."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def show_metrics() -> Response:
        state = store.read(lambda tx: tx.relay.find_state())
        text = generate_latest(_Collected(state, time.time()))
        return Answer(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics


class _Collected(Collector):
    """The state of the events and of the relay; `now` is in seconds since 1970."""

    def __init__(self, state: RelayState, now: float) -> None:
        self._state = state
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its help text, which Prometheus shows alone."""
        state = self._state
        yield CounterMetricFamily(
            "orderapi_events",
            "Number of events that have been committed. Each order has exactly one event.",
            state.last_sequence,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_position",
            "Sequence number of the last event that the relay has delivered to the webhook, or "
            "that an operator told it to skip.",
            state.position,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_waiting_events",
            "Number of committed events that the relay has not yet delivered to the webhook.",
            state.last_sequence - state.position,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_lag_seconds",
            "Age in seconds of the oldest event that the relay has not yet delivered to the "
            "webhook; 0 if all events have been delivered.",
            max(0.0, self._now - _seconds(state.next_since)) if state.next_since else 0.0,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_consecutive_failures",
            "Number of failed attempts in a row to deliver the next event to the webhook; 0 after "
            "a successful delivery.",
            state.failures,
        )
        blocked = GaugeMetricFamily(
            "orderapi_relay_blocked_since_timestamp_seconds",
            "Unix time of the first failed attempt to deliver the next event to the webhook. The "
            "label 'reason' says why the last attempt failed. There is no sample while no attempt "
            "has failed.",
            labels=["reason"],
        )
        if state.blocked_since is not None:
            blocked.add_metric([state.blocked_reason or ""], _seconds(state.blocked_since))
        yield blocked


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
