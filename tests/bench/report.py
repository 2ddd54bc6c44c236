"""The tables: a table for each scenario, and the ratios between orderapi and the others."""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.bench.contenders import OURS, Contender
from tests.bench.load import Window
from tests.bench.scenarios import Scenario

# A window is long enough for a p99 if it lasts at least this many times as long as the p99.
_WINDOW_MIN_P99S = 10
# A window is disturbed if other processes used more than this share of the cores.
OTHERS_SHARE_MAX = 0.1

Value = Callable[[Window], float]


@dataclass(frozen=True)
class Measured:
    """One window: its round, the id of its contender, and what was measured in it."""

    round: int
    contender: str
    scenario: Scenario
    window: Window


# The columns of a scenario's table: the title and the figure.
_COLUMNS: list[tuple[str, Value]] = [
    ("requests per s", lambda window: window.per_s),
    ("p50, ms", lambda window: window.p50_ms),
    ("p99, ms", lambda window: window.p99_ms),
    ("longest, ms", lambda window: window.max_ms),
    ("server CPU per request, µs", lambda window: window.cpu_us),
    ("memory, MiB", lambda window: window.pss_mib),
]

# The tables of ratios: the title and the figure.
_RATIOS: list[tuple[str, Value]] = [
    ("Requests per second, orderapi / the other (more is better)", lambda window: window.per_s),
    ("p99, orderapi / the other (less is better)", lambda window: window.p99_ms),
    ("Server CPU per request, orderapi / the other (less is better)", lambda w: w.cpu_us),
]


def render(
    contenders: list[Contender], measured: list[Measured], absent: list[str], window_s: float
) -> str:
    """Return all tables in Markdown, after a sentence for each part that is missing or doubtful."""
    parts = ["", *absent, *_warnings(measured, window_s)]
    scenarios = list(dict.fromkeys(m.scenario for m in measured))
    for scenario in scenarios:
        title = scenario.title[0].upper() + scenario.title[1:]
        parts += [f"**{title}**", _scenario_table(contenders, measured, scenario)]
    others = [c for c in contenders if c.id != OURS]
    if others and len(others) < len(contenders):
        for title, value in _RATIOS:
            parts += [f"**{title}**", _ratio_table(others, measured, scenarios, value)]
    return "\n\n".join(parts)


def select(measured: Iterable[Measured], contender: str, scenario: Scenario) -> list[Window]:
    """Return the windows of one contender and one scenario, in the order of the rounds."""
    found = [m for m in measured if (m.contender, m.scenario) == (contender, scenario)]
    return [m.window for m in sorted(found, key=lambda m: m.round)]


def median(windows: list[Window], value: Value) -> float:
    """Return the median of one figure over the rounds."""
    return statistics.median(value(window) for window in windows)


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown, with the figures aligned to the right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def figure(value: float) -> str:
    """Return a figure with about three digits."""
    return f"{value:.2f}" if value < 1 else f"{value:.1f}" if value < 10 else f"{value:,.0f}"


def _scenario_table(
    contenders: list[Contender], measured: list[Measured], scenario: Scenario
) -> str:
    rows = []
    for contender in contenders:
        windows = select(measured, contender.id, scenario)
        if windows:
            rows.append([contender.name, *(figure(median(windows, v)) for _, v in _COLUMNS)])
    return table(["", *(title for title, _ in _COLUMNS)], rows)


def _ratio_table(
    others: list[Contender], measured: list[Measured], scenarios: list[Scenario], value: Value
) -> str:
    rows = []
    for scenario in scenarios:
        ours = select(measured, OURS, scenario)
        theirs = [select(measured, other.id, scenario) for other in others]
        rows.append([scenario.title, *(_ratio(ours, windows, value) for windows in theirs)])
    return table(["", *(other.name for other in others)], rows)


def _ratio(ours: list[Window], theirs: list[Window], value: Value) -> str:
    """Return the median of the rounds' ratios, and the lowest and the highest one.

    Windows of the same round are compared, because what disturbs both of them does not disturb
    their ratio.
    """
    ratios = [value(our) / value(their) for our, their in zip(ours, theirs, strict=True)]
    middle = f"{statistics.median(ratios):.2f}"
    return middle if len(ratios) == 1 else f"{middle} ({min(ratios):.2f} to {max(ratios):.2f})"


def _warnings(measured: list[Measured], window_s: float) -> list[str]:
    warnings = []
    disturbed = sum(m.window.others_share > OTHERS_SHARE_MAX for m in measured)
    if disturbed:
        warnings.append(
            f"WARNING: In {disturbed} of {len(measured)} windows, other processes used more than"
            f" {OTHERS_SHARE_MAX:.0%} of the cores. The figures of this run are not reliable."
            " Repeat the run on a machine that does nothing else."
        )
    slowest = max(measured, key=lambda m: m.window.p99_ms)
    p99_s = slowest.window.p99_ms / 1000
    if p99_s * _WINDOW_MIN_P99S > window_s:
        warnings.append(
            f"WARNING: Each window lasted {window_s:g} s. This is too short for latencies near the"
            f" longest p99, which was {p99_s:.1f} s ({slowest.scenario.title}). Read such a p99 as"
            " a rough value."
        )
    return warnings
