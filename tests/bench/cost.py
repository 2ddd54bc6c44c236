"""What tokens and metrics cost: the service with and without them, one directly after the other."""

import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from orderapi.ops.tokens import create_token
from orderapi.records import PUBLIC_CLIENT
from orderapi.settings import SqliteUrl
from orderapi.store.open import open_store
from tests.bench.compare import Plan
from tests.bench.contenders import Contender, Start, our_contender
from tests.bench.load import Load, Window
from tests.bench.report import figure, table
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
    """Measure the three variants in turn, in many short windows, and print the tables.

    All three serve for the whole time. A disturbance of the machine only ever adds processor time
    and takes requests away, so each figure is the best one of all windows. Raises WindowInvalid if
    the service does not do its work.
    """
    variants = _variants(work)
    windows: dict[tuple[str, Work], list[Window]] = {}
    with tempfile.TemporaryDirectory(dir=work) as name, ExitStack() as stack:
        services = {
            variant.id: stack.enter_context(serving(variant, Path(name), Place()))
            for variant in variants
        }
        services["tokens"].authorization = _authorization(services["tokens"])
        at_rest_mib = {variant.name: services[variant.id].pss_mib() for variant in variants}
        for kind in _WORKS:
            for service in services.values():
                load.warm_up(kind, service, MAIN_CLIENTS, plan.warm_up_s)
            for number in range(plan.rounds):
                print(f"round {number + 1}: {WORK_TITLES[kind]}", file=sys.stderr)
                for variant in variants if number % 2 == 0 else variants[::-1]:
                    window = load.measure(kind, services[variant.id], MAIN_CLIENTS, plan.window_s)
                    windows.setdefault((variant.id, kind), []).append(window)
    for title, best_of in (
        ("highest requests per s", _highest_per_s),
        ("lowest server CPU per request, µs", _lowest_cpu_us),
    ):
        head = [title, *(variant.name for variant in variants)]
        rows = [
            _row(kind, [best_of(windows[variant.id, kind]) for variant in variants])
            for kind in _WORKS
        ]
        print(table([*head, "metrics / neither", "both / neither"], rows) + "\n")
    memory = ", ".join(f"{mib:.0f} MiB {name}" for name, mib in at_rest_mib.items())
    print(f"Memory before the first request: {memory}.", flush=True)


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


def _row(kind: Work, best: list[float]) -> list[str]:
    ratios = [f"{value / best[0]:.2f}" for value in best[1:]]
    return [WORK_TITLES[kind], *map(figure, best), *ratios]


def _highest_per_s(windows: list[Window]) -> float:
    return max(window.per_s for window in windows)


def _lowest_cpu_us(windows: list[Window]) -> float:
    return min(window.cpu_us for window in windows)
