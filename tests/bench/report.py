"""The tables, in Markdown: medians over the rounds, and ratios with their spread."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.bench.contenders import Contender
from tests.bench.load import Window

# Where everything is measured; other numbers of clients show new orders alone.
MAIN_CLIENTS = 64
_OURS = "e"
# A window must hold many of the slowest hundredth's round trips.
_WINDOW_IN_P99S = 10


@dataclass(frozen=True)
class Measured:
    """One window: in which round, whose, on which disk, what (`orders`, `replays`, `reads`)."""

    round: int
    letter: str
    disk: str
    work: str
    clients: int
    window: Window


def render(
    contenders: list[Contender],
    measured: list[Measured],
    absent: list[str],
    seconds: float,
    slow_ms: float,
) -> str:
    """Give all tables of a comparison."""
    parts = [*absent, *_too_short(measured, seconds)]
    clients = sorted({m.clients for m in measured if m.work == "orders"})
    parts.append("**New orders** (orders/s; p50 and p99 in ms)")
    parts.append(
        _table(
            ["", *(f"{n} client{'s' if n > 1 else ''}" for n in clients)],
            [
                [
                    c.name,
                    *(_rate_and_latency(measured, c, "as it is", "orders", n) for n in clients),
                ]
                for c in contenders
            ],
        )
    )
    if MAIN_CLIENTS in clients:
        parts += _tables_at_main_clients(contenders, measured, slow_ms)
    fair = [m for m in measured if m.work == "orders" and m.clients == max(clients)]
    parts.append(f"**Fairness** (new orders, {max(clients)} clients)")
    parts.append(_table(["", "p99 / p50", "longest, ms"], _fairness(contenders, fair)))
    ratios = _ratios(contenders, measured, clients)
    if ratios:
        parts.append("**orderapi's rate / theirs**: median of the rounds (least to most)")
        parts.append(_table(["", *(c.name for c in contenders if c.letter != _OURS)], ratios))
    return "\n\n".join(["", *parts])


def select(
    measured: Iterable[Measured], letter: str, disk: str, work: str, clients: int
) -> list[Window]:
    """Give the windows of one contender and one kind, a round each."""
    wanted = (letter, disk, work, clients)
    return [m.window for m in measured if (m.letter, m.disk, m.work, m.clients) == wanted]


def median(windows: list[Window], value: Callable[[Window], float]) -> float:
    """Give the median of one figure over the rounds."""
    return statistics.median(value(window) for window in windows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Give a Markdown table."""
    return _table(head, rows)


def _tables_at_main_clients(
    contenders: list[Contender], measured: list[Measured], slow_ms: float
) -> list[str]:
    rows = []
    for c in contenders:
        row = [c.name]
        row += [_rate_and_latency(measured, c, "as it is", w, MAIN_CLIENTS) for w in _OTHERS]
        row += [
            _figure(select(measured, c.letter, "as it is", w, MAIN_CLIENTS), lambda w: w.cpu_us)
            for w in ("orders", *_OTHERS)
        ]
        loaded = select(measured, c.letter, "as it is", "orders", MAIN_CLIENTS)
        row.append(_figure(loaded, lambda w: w.pss_mib))
        rows.append(row)
    head = ["", "replays/s", "reads/s", "CPU µs: order", "replay", "read", "memory, MiB"]
    parts = [
        f"**{MAIN_CLIENTS} clients**: replays and reads (per s; p50 and p99 in ms), processor time"
        " per request, memory of all processes under load (PSS)",
        _table(head, rows),
    ]
    four = select(measured, "e4", "as it is", "orders", MAIN_CLIENTS)
    if four:
        parts.append(f"With four workers orderapi takes {four[0].pss_mib:.0f} MiB.")
    if any(m.disk == "slowed" for m in measured):
        parts.append(f"**New orders on a disk whose fsync takes {slow_ms:g} ms longer**")
        parts.append(
            _table(
                ["", f"{MAIN_CLIENTS} clients"],
                [
                    [c.name, _rate_and_latency(measured, c, "slowed", "orders", MAIN_CLIENTS)]
                    for c in contenders
                ],
            )
        )
    return parts


_OTHERS = ("replays", "reads")


def _rate_and_latency(
    measured: list[Measured], contender: Contender, disk: str, work: str, clients: int
) -> str:
    windows = select(measured, contender.letter, disk, work, clients)
    if not windows:
        return "-"
    rate = median(windows, lambda w: w.per_s)
    p50, p99 = median(windows, lambda w: w.p50_ms), median(windows, lambda w: w.p99_ms)
    return f"{rate:,.0f}; {_ms(p50)}, {_ms(p99)}"


def _figure(windows: list[Window], value: Callable[[Window], float]) -> str:
    return f"{median(windows, value):,.0f}" if windows else "-"


def _ms(value: float) -> str:
    return f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _fairness(contenders: list[Contender], measured: list[Measured]) -> list[list[str]]:
    rows = []
    for c in contenders:
        windows = [m.window for m in measured if m.letter == c.letter and m.disk == "as it is"]
        if windows:
            spread = median(windows, lambda w: w.p99_ms / w.p50_ms)
            rows.append([c.name, f"{spread:.1f}", f"{max(w.max_ms for w in windows):,.0f}"])
    return rows


def _ratios(
    contenders: list[Contender], measured: list[Measured], clients: list[int]
) -> list[list[str]]:
    kinds = [("as it is", "orders", n, f"new orders, {n}") for n in clients]
    kinds += [("as it is", work, MAIN_CLIENTS, f"{work}, {MAIN_CLIENTS}") for work in _OTHERS]
    kinds.append(("slowed", "orders", MAIN_CLIENTS, f"new orders, {MAIN_CLIENTS}, slowed disk"))
    others = [c for c in contenders if c.letter != _OURS]
    rows = []
    for disk, work, number, title in kinds:
        ours = select(measured, _OURS, disk, work, number)
        if ours and others:
            theirs = [select(measured, c.letter, disk, work, number) for c in others]
            rows.append([title, *(_ratio(ours, windows) for windows in theirs)])
    return rows


def _ratio(ours: list[Window], theirs: list[Window]) -> str:
    """Compare within each round: what disturbs both does not disturb their ratio."""
    each = [our.per_s / their.per_s for our, their in zip(ours, theirs, strict=True)]
    return f"{statistics.median(each):.2f} ({min(each):.2f} to {max(each):.2f})"


def _too_short(measured: list[Measured], seconds: float) -> list[str]:
    slowest_s = max(m.window.p99_ms for m in measured) / 1000
    if slowest_s * _WINDOW_IN_P99S <= seconds:
        return []
    return [
        f"The windows of {seconds:g} s are short for the slowest p99, {slowest_s:.1f} s: do not"
        " trust that row's p99."
    ]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
