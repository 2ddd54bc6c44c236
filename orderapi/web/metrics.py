"""The resource `/metrics`, in the text format of Prometheus.

Some values were counted by the workers (`orderapi.telemetry`). The other values are read from the
store during the request. Every worker gives the same answer.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
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
    """Return the resource `/metrics` of a service: its store, its requests and its readiness."""
    metrics = Blueprint("metrics", __name__)

    @metrics.get("/metrics")
    def show_metrics() -> WholeResponse:
        state, last_backup, last_audit = store.read(
            lambda tx: (tx.relay.find_state(), tx.backups.find_last(), tx.last_audit.find())
        )
        stored = _StoredValues(
            state, last_backup, last_audit, store.usage(), readiness.why_not() is None, time.time()
        )
        telemetry.sample()
        text = generate_latest(telemetry.registry()) + generate_latest(stored)
        return WholeResponse(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return metrics


@dataclass(frozen=True)
class _StoredValues(Collector):
    """The metrics that are read from the store. `now` is in seconds since 1970.

    prometheus-client does not support such a collector beside files that processes share.
    Therefore it has a registry of its own.
    """

    state: RelayState
    last_backup: LastBackup
    last_audit: LastAudit | None
    usage: StoreUsage
    is_ready: bool
    now: float

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its help text. Prometheus shows this text without the code."""
        yield from self._collect_store()
        yield from self._collect_backups()
        yield from self._collect_audit()
        yield from self._collect_relay()

    def _collect_store(self) -> Iterator[Metric]:
        yield _gauge(
            "orderapi_ready",
            "1 if a write has been committed within the last 2 seconds, or if a test write has "
            "been committed just now; 0 if not. /readyz gives the same verdict.",
            float(self.is_ready),
        )
        yield _gauge(
            "orderapi_database_bytes",
            "Size of the database in bytes.",
            self.usage.database_bytes,
        )
        yield _gauge(
            "orderapi_wal_bytes",
            "Size in bytes of the write-ahead log, the file beside the database that holds the "
            "latest commits. There is no sample on PostgreSQL.",
            self.usage.log_bytes,
        )
        yield _gauge(
            "orderapi_disk_free_bytes",
            "Number of bytes that are free for this service on the disk of the database. There is "
            "no sample on PostgreSQL.",
            self.usage.free_bytes,
        )

    def _collect_backups(self) -> Iterator[Metric]:
        yield _gauge(
            "orderapi_last_backup_timestamp_seconds",
            "Unix time of the last complete backup, whether its audit had findings or not. There "
            "is no sample before the first backup.",
            _unix_time(self.last_backup.made_at),
        )
        yield _gauge(
            "orderapi_last_verified_backup_timestamp_seconds",
            "Unix time of the last backup whose audit had no findings. There is no sample before "
            "the first such backup.",
            _unix_time(self.last_backup.verified_at),
        )
        took_ms = self.last_backup.took_ms
        yield _gauge(
            "orderapi_last_backup_duration_seconds",
            "Duration in seconds of the last complete backup with its audit. There is no sample "
            "before the first backup.",
            None if took_ms is None else took_ms / 1000,
        )

    def _collect_audit(self) -> Iterator[Metric]:
        last = self.last_audit
        yield _gauge(
            "orderapi_last_audit_timestamp_seconds",
            "Unix time at which the last `orderapi audit` of this database ended. There is no "
            "sample before the first audit.",
            _unix_time(last.ended_at) if last else None,
        )
        yield _gauge(
            "orderapi_last_audit_findings",
            "Number of rows that broke an invariant in the last `orderapi audit` of this database. "
            "There is no sample before the first audit.",
            last.result.findings if last else None,
        )
        yield _gauge(
            "orderapi_last_audit_duration_seconds",
            "Duration in seconds of the last `orderapi audit` of this database. There is no sample "
            "before the first audit.",
            last.result.took_ms / 1000 if last else None,
        )

    def _collect_relay(self) -> Iterator[Metric]:
        state = self.state
        yield CounterMetricFamily(
            "orderapi_events",
            "Number of events that have been committed. Each order has exactly one event.",
            state.last_sequence,
        )
        yield _gauge(
            "orderapi_relay_position",
            "Sequence number of the last event that the relay has delivered to the webhook, or "
            "that an operator told it to skip.",
            state.position,
        )
        yield _gauge(
            "orderapi_relay_waiting_events",
            "Number of committed events that the relay has not yet delivered to the webhook.",
            state.last_sequence - state.position,
        )
        waiting_since = _unix_time(state.next_since)
        yield _gauge(
            "orderapi_relay_lag_seconds",
            "Age in seconds of the oldest event that the relay has not yet delivered to the "
            "webhook; 0 if all events have been delivered.",
            0.0 if waiting_since is None else max(0.0, self.now - waiting_since),
        )
        yield _gauge(
            "orderapi_relay_consecutive_failures",
            "Number of failed attempts in a row to deliver the next event to the webhook; 0 after "
            "a successful delivery.",
            state.failures,
        )
        yield _gauge(
            "orderapi_relay_blocked_since_timestamp_seconds",
            "Unix time of the first failed attempt to deliver the next event to the webhook. The "
            "label 'reason' says why the last attempt failed. There is no sample while no attempt "
            "has failed.",
            _unix_time(state.blocked_since),
            reason=state.blocked_reason or "",
        )


def _gauge(name: str, documentation: str, value: float | None, **labels: str) -> Metric:
    """Return a gauge with one sample, or without a sample if the value is None."""
    gauge = GaugeMetricFamily(name, documentation, labels=tuple(labels))
    if value is not None:
        gauge.add_metric(tuple(labels.values()), value)
    return gauge


def _unix_time(timestamp: str | None) -> float | None:
    """Return a stored time in seconds since 1970, or None if there is no time."""
    return None if timestamp is None else datetime.fromisoformat(timestamp).timestamp()
