"""The tables of the comparison on PostgreSQL, and the aims that it should reach."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from tests.bench.postgres.contenders import NAMES, OURS, STATEMENTS, TRANSACTIONS
from tests.bench.postgres.measuring import CLIENTS, Setup, StoreWindow
from tests.bench.postgres.over_http import ENGINES, POSTGRES, SQLITE, HttpWindow
from tests.bench.report import OTHERS_SHARE_MAX, figure, table

ROUND_TRIP_MS = 1.0
ONE_HOST = Setup("1 ms round trip, one host", 1, ROUND_TRIP_MS)
THREE_HOSTS = Setup("1 ms round trip, three hosts", 3, ROUND_TRIP_MS)
SYNCHRONOUS = Setup(
    "1 ms round trip, three hosts, synchronous standby", 3, ROUND_TRIP_MS, is_synchronous=True
)
SETUPS = (ONE_HOST, THREE_HOSTS, SYNCHRONOUS)


@dataclass(frozen=True)
class Round:
    """What one round has measured: in each setup by each contender, and over HTTP by engine."""

    store: dict[tuple[Setup, str], StoreWindow]
    http: dict[str, HttpWindow]


@dataclass(frozen=True)
class Aim:
    """A figure of each round, and the bound that its median should keep."""

    title: str
    value: Callable[[Round], float]
    kind: Literal["at least", "at most"]
    bound: float

    def is_reached(self, value: float) -> bool:
        """Tell whether a value keeps the bound."""
        return value >= self.bound if self.kind == "at least" else value <= self.bound


_StoreValue = Callable[[StoreWindow], float]


def _ratio(value: _StoreValue, setup: Setup, other: str) -> Callable[[Round], float]:
    return lambda r: value(r.store[setup, OURS]) / value(r.store[setup, other])


def _rate(window: StoreWindow) -> float:
    return window.per_s


AIMS = (
    Aim(
        f"orders per s, one host: orderapi / {NAMES[TRANSACTIONS]}",
        _ratio(_rate, ONE_HOST, TRANSACTIONS),
        "at least",
        5,
    ),
    Aim(
        f"orders per s, one host: orderapi / {NAMES[STATEMENTS]}",
        _ratio(_rate, ONE_HOST, STATEMENTS),
        "at least",
        2.5,
    ),
    Aim(
        f"orders per s, three hosts: orderapi / {NAMES[TRANSACTIONS]}",
        _ratio(_rate, THREE_HOSTS, TRANSACTIONS),
        "at least",
        5,
    ),
    Aim(
        "orders per s, orderapi: three hosts / one host",
        lambda r: r.store[THREE_HOSTS, OURS].per_s / r.store[ONE_HOST, OURS].per_s,
        "at least",
        1,
    ),
    Aim(
        "orders per s, orderapi: the slowest of three hosts / the mean of them",
        lambda r: r.store[THREE_HOSTS, OURS].slowest_share,
        "at least",
        0.7,
    ),
    Aim(
        f"orders per s, synchronous standby: orderapi / {NAMES[TRANSACTIONS]}",
        _ratio(_rate, SYNCHRONOUS, TRANSACTIONS),
        "at least",
        6,
    ),
    Aim(
        "WAL syncs per order, one host: orderapi",
        lambda r: r.store[ONE_HOST, OURS].syncs_per_order,
        "at most",
        0.05,
    ),
    Aim(
        f"PostgreSQL's CPU per order, one host: orderapi / {NAMES[TRANSACTIONS]}",
        _ratio(lambda window: window.database_cpu_us, ONE_HOST, TRANSACTIONS),
        "at most",
        0.25,
    ),
    Aim(
        "orders per s over HTTP: PostgreSQL / SQLite",
        lambda r: r.http[POSTGRES].window.per_s / r.http[SQLITE].window.per_s,
        "at least",
        0.7,
    ),
    Aim(
        "p99 over HTTP on PostgreSQL, ms",
        lambda r: r.http[POSTGRES].window.p99_ms,
        "at most",
        100,
    ),
)

_STORE_COLUMNS: list[tuple[str, _StoreValue]] = [
    ("orders per s", _rate),
    ("p50, ms", lambda window: window.p50_ms),
    ("p99, ms", lambda window: window.p99_ms),
    ("slowest host / mean", lambda window: window.slowest_share),
    ("WAL syncs per order", lambda window: window.syncs_per_order),
    ("PostgreSQL's CPU per order, µs", lambda window: window.database_cpu_us),
    ("hosts' CPU per order, µs", lambda window: window.host_cpu_us),
]
_HTTP_COLUMNS: list[tuple[str, Callable[[HttpWindow], float]]] = [
    ("orders per s", lambda measured: measured.window.per_s),
    ("p50, ms", lambda measured: measured.window.p50_ms),
    ("p99, ms", lambda measured: measured.window.p99_ms),
    ("server CPU per order, µs", lambda measured: measured.window.cpu_us),
    ("PostgreSQL's CPU per order, µs", lambda measured: measured.database_cpu_us),
]


def render(rounds: list[Round]) -> str:
    """Return all tables in Markdown, after a sentence that says whether they are reliable."""
    parts = ["", *_warnings(rounds)]
    for setup in SETUPS:
        parts += [f"**{setup.title}, {CLIENTS} clients per host**", _store_table(rounds, setup)]
    parts += [f"**Over HTTP, one host, {CLIENTS} clients**", _http_table(rounds)]
    parts += ["**What it should reach**", _aims_table(rounds)]
    return "\n\n".join(parts)


def _store_table(rounds: list[Round], setup: Setup) -> str:
    rows = []
    for contender, name in NAMES.items():
        windows = [measured.store[setup, contender] for measured in rounds]
        medians = (statistics.median(map(value, windows)) for _, value in _STORE_COLUMNS)
        rows.append([name, *map(figure, medians)])
    return table(["", *(title for title, _ in _STORE_COLUMNS)], rows)


def _http_table(rounds: list[Round]) -> str:
    rows = []
    for engine, name in ENGINES.items():
        windows = [measured.http[engine] for measured in rounds]
        medians = (statistics.median(map(value, windows)) for _, value in _HTTP_COLUMNS)
        rows.append([name, *map(figure, medians)])
    return table(["", *(title for title, _ in _HTTP_COLUMNS)], rows)


def _aims_table(rounds: list[Round]) -> str:
    rows = []
    for aim in AIMS:
        values = [aim.value(measured) for measured in rounds]
        median = statistics.median(values)
        spread = f" ({figure(min(values))} to {figure(max(values))})" if len(values) > 1 else ""
        verdict = "yes" if aim.is_reached(median) else "no"
        rows.append([aim.title, figure(median) + spread, f"{aim.kind} {aim.bound:g}", verdict])
    return table(["", "measured", "aim", "reached"], rows)


def _warnings(rounds: list[Round]) -> list[str]:
    shares = [window.others_share for measured in rounds for window in measured.store.values()]
    shares += [h.window.others_share for measured in rounds for h in measured.http.values()]
    disturbed = sum(share > OTHERS_SHARE_MAX for share in shares)
    if not disturbed:
        return []
    return [
        f"WARNING: In {disturbed} of {len(shares)} windows, other processes used more than"
        f" {OTHERS_SHARE_MAX:.0%} of the cores. Repeat the run on a machine that does nothing else."
    ]
