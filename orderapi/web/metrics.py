"""Metrics: what a monitor asks for, as Prometheus text.

All of it is read from the store, so every worker gives the same answer, and it is the sum of all.
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
    """Give the resource `/metrics` on a store."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def show_metrics() -> Response:
        state = store.read(lambda tx: tx.relay.find_state())
        text = generate_latest(_Collected(state, time.time()))
        return Answer(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics


class _Collected(Collector):
    """The events and the relay at one moment; `now` is in seconds since 1970."""

    def __init__(self, state: RelayState, now: float) -> None:
        self._state = state
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Give each metric, with its help."""
        state = self._state
        yield CounterMetricFamily(
            "orderapi_events", "Events committed; as many as orders.", state.last_sequence
        )
        yield GaugeMetricFamily(
            "orderapi_relay_position",
            "Sequence number of the last event delivered, or skipped by request.",
            state.position,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_waiting_events",
            "Events after that one.",
            state.last_sequence - state.position,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_lag_seconds",
            "How long ago the oldest of these was committed; 0 if none waits.",
            max(0.0, self._now - _seconds(state.next_since)) if state.next_since else 0.0,
        )
        yield GaugeMetricFamily(
            "orderapi_relay_consecutive_failures",
            "Attempts in a row that have failed to deliver the next event.",
            state.failures,
        )
        blocked = GaugeMetricFamily(
            "orderapi_relay_blocked_since_timestamp_seconds",
            "When the first of these failed, and why the last one did; left out if there is none.",
            labels=["reason"],
        )
        if state.blocked_since is not None:
            blocked.add_metric([state.blocked_reason or ""], _seconds(state.blocked_since))
        yield blocked


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()
