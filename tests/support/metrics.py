"""The metrics of a service, as a monitor reads them."""

from collections.abc import Iterator

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from tests.support.running import Answer

REQUESTS = "orderapi_request_duration_seconds"


def families(answer: Answer) -> list[Metric]:
    """Give the metrics in an answer of `/metrics`."""
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return list(text_string_to_metric_families(answer.body.decode()))


def samples(answer: Answer) -> dict[str, float]:
    """Give the value of each metric that has no labels."""
    found = [sample for family in families(answer) for sample in family.samples]
    return {sample.name: sample.value for sample in found if not sample.labels}


def labelled(answer: Answer, name: str) -> dict[tuple[str, ...], float]:
    """Give the values of one metric by the values of its labels, sorted by the labels' names."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families(answer)
        for sample in family.samples
        if sample.name == name
    }


def requests(answer: Answer) -> dict[tuple[str, ...], float]:
    """Count the requests by (method, route, class of status)."""
    return labelled(answer, f"{REQUESTS}_count")


def counters(answer: Answer) -> Iterator[tuple[tuple[str, ...], float]]:
    """Give every value that must never go down while a service runs."""
    for family in families(answer):
        if family.type in ("counter", "histogram"):
            for sample in family.samples:
                labels = tuple(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                yield (sample.name, *labels), sample.value
