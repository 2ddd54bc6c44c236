"""The alert rules and the dashboard: Prometheus accepts them, and their metrics exist."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.http_messages import ask
from tests.support.metrics import families
from tests.support.programs import Program
from tests.support.running import REPOSITORY

MONITORING = REPOSITORY / "deploy" / "monitoring"
ALERTS = (MONITORING / "alerts.yml").read_text()
DASHBOARD = json.loads((MONITORING / "dashboard.json").read_text())

# By alert: series with a value for each minute, and the time at which the alert fires on them.
FIRING = {
    "OrderapiDown": ({'up{job="orderapi"}': "1x5 0x5"}, "8m"),
    "OrderapiNotReady": ({"orderapi_ready": "1x5 0x5"}, "8m"),
    "OrderapiErrors": (
        {
            'orderapi_request_duration_seconds_count{status_class="2xx"}': "0+600x20",
            'orderapi_request_duration_seconds_count{status_class="5xx"}': "0+7x20",
        },
        "15m",
    ),
    "OrderapiDatabaseDamaged": ({'orderapi_store_errors_total{kind="damaged"}': "0x5 1x5"}, "7m"),
    "OrderapiSlow": (
        {
            'orderapi_request_duration_seconds_bucket{route="/orders", le="1.0"}': "0+98x30",
            'orderapi_request_duration_seconds_bucket{route="/orders", le="2.5"}': "0+100x30",
            'orderapi_request_duration_seconds_bucket{route="/orders", le="+Inf"}': "0+100x30",
        },
        "25m",
    ),
    "OrderapiWalTooLarge": ({"orderapi_wal_bytes": "300000000x20"}, "15m"),
    "OrderapiDiskFilling": (
        {
            "orderapi_wal_bytes": "0x1500",
            "orderapi_database_bytes": "0+1000000x1500",
            "orderapi_disk_free_bytes": "4000000000x1500",
        },
        "1500m",
    ),
    "OrderapiRelayLag": (
        {"orderapi_relay_lag_seconds": "0+60x10", "orderapi_relay_position": "5x10"},
        "8m",
    ),
    "OrderapiRelayBlocked": (
        {'orderapi_relay_blocked_since_timestamp_seconds{reason="HTTP 500"}': "60x10"},
        "7m",
    ),
    "OrderapiNoVerifiedBackup": (
        {"orderapi_last_verified_backup_timestamp_seconds": "0x1600"},
        "1570m",
    ),
    "OrderapiNeverBackedUp": ({"orderapi_ready": "1x1600"}, "1570m"),
    "OrderapiAuditHasFindings": ({"orderapi_last_audit_findings": "0x5 2x5"}, "7m"),
    "OrderapiTokensRefused": (
        {'orderapi_tokens_refused_total{reason="unauthorized"}': "0+10x20"},
        "16m",
    ),
    "OrderapiClientRefusedOften": (
        {
            'orderapi_request_duration_seconds_count{status_class="2xx"}': "0+60x40",
            'orderapi_request_duration_seconds_count{status_class="4xx"}': "0+20x40",
        },
        "35m",
    ),
}
# The series of a healthy service without a relay, for more than a day.
WELL = {
    'up{job="orderapi"}': "1x1800",
    "orderapi_ready": "1x1800",
    'orderapi_request_duration_seconds_count{route="/orders", status_class="2xx"}': "0+600x1800",
    'orderapi_request_duration_seconds_count{route="/orders", status_class="4xx"}': "0+60x1800",
    'orderapi_request_duration_seconds_count{route="/orders", status_class="5xx"}': "0+1x1800",
    'orderapi_request_duration_seconds_bucket{route="/orders", le="0.1"}': "0+661x1800",
    'orderapi_request_duration_seconds_bucket{route="/orders", le="+Inf"}': "0+661x1800",
    # The readers of events wait for a long time.
    'orderapi_request_duration_seconds_bucket{route="/events", le="10.0"}': "0x1800",
    'orderapi_request_duration_seconds_bucket{route="/events", le="+Inf"}': "0+600x1800",
    'orderapi_store_errors_total{kind="temporary"}': "0+1x1800",
    'orderapi_store_errors_total{kind="damaged"}': "0x1800",
    "orderapi_wal_bytes": "60000000x1800",
    "orderapi_database_bytes": "1000000000+100000x1800",
    "orderapi_disk_free_bytes": "9000000000x1800",
    "orderapi_relay_lag_seconds": "0+60x1800",
    "orderapi_relay_position": "0x1800",
    "orderapi_last_verified_backup_timestamp_seconds": "0x1440 86400x360",
    "orderapi_last_audit_findings": "0x1800",
    'orderapi_tokens_refused_total{reason="unauthorized"}': "0+2x1800",
}


@pytest.fixture(scope="module")
def promtool(program: Program) -> str:
    return program("promtool", "prometheus")


def run(*command: str | Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_prometheus_accepts_the_rules_and_the_example_of_its_configuration(promtool: str) -> None:
    run(promtool, "check", "rules", MONITORING / "alerts.yml")
    run(promtool, "check", "config", MONITORING / "prometheus.yml")


def test_alerts_and_dashboard_use_only_metrics_that_exist(client: FlaskClient) -> None:
    exposed = set()
    for family in families(ask(client, "/metrics")):
        parts = {
            "counter": ("_total",),
            "histogram": ("_bucket", "_sum", "_count"),
        }.get(family.type, ("",))
        exposed |= {family.name + part for part in parts}
    shown = names("\n".join(expressions()))
    assert names(re.sub(r"(?m)^ *#.*", "", ALERTS)) <= exposed
    assert shown <= exposed
    # Every metric is on the dashboard.
    for family in families(ask(client, "/metrics")):
        assert any(name.startswith(family.name) for name in shown), family.name


def names(text: str) -> set[str]:
    return set(re.findall(r"\borderapi_\w+", text))


def test_the_panels_of_the_dashboard_have_different_ids_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert x < 24
                assert (x, y) not in taken
                taken.add((x, y))


def test_prometheus_accepts_every_expression_of_the_dashboard(
    promtool: str, tmp_path: Path
) -> None:
    rules = [
        {"record": f"panel:{number}", "expr": expression.replace("$__rate_interval", "5m")}
        for number, expression in enumerate(expressions())
    ]
    file = tmp_path / "panels.yml"
    # JSON is YAML too.
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    run(promtool, "check", "rules", file)


def test_each_alert_fires_when_it_should_and_none_fires_for_a_healthy_service(
    promtool: str, tmp_path: Path
) -> None:
    assert sorted(re.findall(r"- alert: (\w+)", ALERTS)) == sorted(FIRING)
    tests = [rule_test(series, at, alert) for alert, (series, at) in FIRING.items()]
    long = [test for test in tests if len(test["promql_expr_test"][0]["eval_time"]) > len("59m")]
    long.append(rule_test(WELL, "1790m", None))
    # More than a day is evaluated less often, because an evaluation takes a millisecond.
    for pause, group in (("1m", [test for test in tests if test not in long]), ("5m", long)):
        file = tmp_path / f"{pause}.yml"
        rule_files = [str(MONITORING / "alerts.yml")]
        content = {"rule_files": rule_files, "evaluation_interval": pause, "tests": group}
        file.write_text(json.dumps(content))
        run(promtool, "test", "rules", file)


def rule_test(series: dict[str, str], at: str, firing: str | None) -> dict[str, Any]:
    """Write a test for promtool: at the time `at`, the alert `firing` fires and no other one."""
    expected = [{"labels": f'{{alertname="{firing}"}}', "value": 1}] if firing else []
    return {
        "name": firing or "a service that is well",
        "interval": "1m",
        "input_series": [
            {
                "series": f'{name[:-1]}, instance="a"}}'
                if "{" in name
                else f'{name}{{instance="a"}}',
                "values": values,
            }
            for name, values in series.items()
        ],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": at,
                "exp_samples": expected,
            }
        ],
    }
