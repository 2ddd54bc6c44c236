"""Metrics: the resource `/metrics`, which monitors read as Prometheus text.

The values come from two registries: what the workers have counted (`orderapi.telemetry`), and what
is read from the store at the moment of the request. Every worker gives the same answer.
"""

import time
from collections.abc import Iterator
from datetime import datetime

from flask import Blueprint
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from orderapi.maintenance_records import LastAudit, LastBackup, StoreUsage
from orderapi.records import RelayState
from orderapi.store.contract import Store
from orderapi.telemetry import Telemetry
from orderapi.web.health import Readiness
from orderapi.web.whole_response import WholeResponse


def blueprint(store: Store, telemetry: Telemetry, readiness: Readiness) -> Blueprint:
    """Return the resource `/metrics` of a store and of those who use it."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def show_metrics() -> WholeResponse:
        state, last_backup, last_audit = store.read(
            lambda tx: (tx.relay.find_state(), tx.backups.find_last(), tx.last_audit.find())
        )
        stored = _Stored(
            state, last_backup, last_audit, store.usage(), readiness.why_not() is None, time.time()
        )
        telemetry.sample()
        text = generate_latest(telemetry.registry()) + generate_latest(stored)
        return WholeResponse(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics


class _Stored(Collector):
    """The state of the store, its events and its relay; `now` is in seconds since 1970.

    prometheus-client does not support such a collector beside files that processes share.
    Therefore it has a registry of its own.
    """

    def __init__(
        self,
        state: RelayState,
        last_backup: LastBackup,
        last_audit: LastAudit | None,
        usage: StoreUsage,
        is_ready: bool,
        now: float,
    ) -> None:
        self._state = state
        self._last_backup = last_backup
        self._last_audit = last_audit
        self._usage = usage
        self._is_ready = is_ready
        self._now = now

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its help text, which Prometheus shows alone."""
        yield from self._collect_store()
        yield from self._collect_backups()
        yield from self._collect_audit()
        yield from self._collect_relay()

    def _collect_store(self) -> Iterator[Metric]:
        yield GaugeMetricFamily(
            "orderapi_ready",
            "1 if a write has been committed within the last 2 seconds, or if a test write has "
            "been committed just now; 0 if not. /readyz gives the same verdict.",
            float(self._is_ready),
        )
        yield GaugeMetricFamily(
            "orderapi_database_bytes",
            "Size of the database in bytes.",
            self._usage.database_bytes,
        )
        log = GaugeMetricFamily(
            "orderapi_wal_bytes",
            "Size in bytes of the write-ahead log, the file beside the database that holds the "
            "latest commits. There is no sample on PostgreSQL.",
        )
        free = GaugeMetricFamily(
            "orderapi_disk_free_bytes",
            "Number of bytes that are free for this service on the disk of the database. There is "
            "no sample on PostgreSQL.",
        )
        for family, size in ((log, self._usage.log_bytes), (free, self._usage.free_bytes)):
            if size is not None:
                family.add_metric([], size)
            yield family

    def _collect_backups(self) -> Iterator[Metric]:
        made = GaugeMetricFamily(
            "orderapi_last_backup_timestamp_seconds",
            "Unix time of the last complete backup, whether its audit had findings or not. There "
            "is no sample before the first backup.",
        )
        verified = GaugeMetricFamily(
            "orderapi_last_verified_backup_timestamp_seconds",
            "Unix time of the last backup whose audit had no findings. There is no sample before "
            "the first such backup.",
        )
        for family, at in (
            (made, self._last_backup.made_at),
            (verified, self._last_backup.verified_at),
        ):
            if at is not None:
                family.add_metric([], _seconds(at))
            yield family
        duration = GaugeMetricFamily(
            "orderapi_last_backup_duration_seconds",
            "Duration in seconds of the last complete backup with its audit. There is no sample "
            "before the first backup.",
        )
        if self._last_backup.took_ms is not None:
            duration.add_metric([], self._last_backup.took_ms / 1000)
        yield duration

    def _collect_audit(self) -> Iterator[Metric]:
        ended = GaugeMetricFamily(
            "orderapi_last_audit_timestamp_seconds",
            "Unix time at which the last `orderapi audit` of this database ended. There is no "
            "sample before the first audit.",
        )
        findings = GaugeMetricFamily(
            "orderapi_last_audit_findings",
            "Number of rows that broke an invariant in the last `orderapi audit` of this database. "
            "There is no sample before the first audit.",
        )
        duration = GaugeMetricFamily(
            "orderapi_last_audit_duration_seconds",
            "Duration in seconds of the last `orderapi audit` of this database. There is no sample "
            "before the first audit.",
        )
        if self._last_audit is not None:
            result = self._last_audit.result
            ended.add_metric([], _seconds(self._last_audit.ended_at))
            findings.add_metric([], result.findings)
            duration.add_metric([], result.took_ms / 1000)
        yield from (ended, findings, duration)

    def _collect_relay(self) -> Iterator[Metric]:
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
