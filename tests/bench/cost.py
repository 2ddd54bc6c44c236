"""What tokens and metrics cost: the service with and without them, one directly after the other."""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from orderapi.ops.tokens import create_token
from orderapi.orders import PUBLIC_CLIENT
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_store
from tests.bench.compare import Plan
from tests.bench.contenders import Contender, Start, our_contender
from tests.bench.load import Load, Window
from tests.bench.report import figure, median, ratio, table
from tests.bench.scenarios import MAIN_CLIENTS, WORK_TITLES, Work
from tests.bench.service import Place, Service, serving

_WORKS: tuple[Work, ...] = ("orders", "replays", "reads")
# The service has no setting that switches its metrics off, so this configuration takes them out.
_WITHOUT_METRICS = """\
exec(compile(open("deploy/gunicorn.conf.py").read(), "deploy/gunicorn.conf.py", "exec"))
from orderapi.telemetry import Telemetry
for _name in ("count_request", "count_reply", "note_batch", "note_lock_wait", "sample"):
    assert callable(getattr(Telemetry, _name))
    setattr(Telemetry, _name, lambda *_, **__: None)
"""


def run(plan: Plan, load: Load, work: Path) -> None:
    """Measure the three variants in each round, and print the tables.

    Raises WindowInvalid if the service does not do its work.
    """
    variants = _variants(work)
    windows: dict[tuple[str, Work], list[Window]] = {}
    at_rest_mib: dict[str, float] = {}
    for number in range(plan.rounds):
        for variant in variants if number % 2 == 0 else variants[::-1]:
            print(f"round {number + 1}: {variant.name}", file=sys.stderr)
            with (
                tempfile.TemporaryDirectory(dir=work) as name,
                serving(variant, Path(name), Place()) as service,
            ):
                at_rest_mib[variant.name] = service.pss_mib()
                if variant.id == "tokens":
                    service.authorization = _authorization(service)
                for kind in _WORKS:
                    load.warm_up(kind, service, MAIN_CLIENTS, plan.warm_up_s)
                    window = load.measure(kind, service, MAIN_CLIENTS, plan.window_s)
                    windows.setdefault((variant.id, kind), []).append(window)
    rows = [_row(kind, [windows[variant.id, kind] for variant in variants]) for kind in _WORKS]
    head = ["server CPU per request, µs", *(variant.name for variant in variants)]
    print(table([*head, "metrics / neither", "both / neither"], rows))
    memory = ", ".join(f"{mib:.0f} MiB {name}" for name, mib in at_rest_mib.items())
    print(f"\nMemory before the first request: {memory}.", flush=True)


def _variants(work: Path) -> list[Contender]:
    """Give the service with neither metrics nor tokens, with metrics, and with both."""
    ours = our_contender()
    config = work / "without_metrics.py"
    config.write_text(_WITHOUT_METRICS)

    def without_metrics(database: Path, port: int) -> Start:
        start = ours.start(database, port)
        return replace(start, command=[start.command[0], "-c", str(config), "wsgi:app"])

    def with_tokens(database: Path, port: int) -> Start:
        start = ours.start(database, port)
        return replace(start, environ=start.environ | {"ORDERAPI_AUTH": "required"})

    return [
        replace(ours, id="neither", name="neither", start=without_metrics),
        replace(ours, id="metrics", name="with metrics", start=ours.start),
        replace(ours, id="tokens", name="with metrics and tokens", start=with_tokens),
    ]


def _authorization(service: Service) -> str:
    store = open_store(SqliteUrl(service.database))
    try:
        made = create_token(store, PUBLIC_CLIENT, label="", scopes=(), expires=None)
    finally:
        store.close()
    # A new token works within a second.
    time.sleep(1)
    return f"Bearer {made.token}"


def _row(kind: Work, variants: list[list[Window]]) -> list[str]:
    cpu_us = [figure(median(windows, _cpu_us)) for windows in variants]
    ratios = [ratio(windows, variants[0], _cpu_us) for windows in variants[1:]]
    return [WORK_TITLES[kind], *cpu_us, *ratios]


def _cpu_us(window: Window) -> float:
    return window.cpu_us
