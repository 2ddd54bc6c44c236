"""Bar charts as SVG, drawn by the server. Colours come from the stylesheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from orderapi.console.now import Count

WIDTH, HEIGHT = 600, 140
# The minimum height of a bar whose count is not 0, so that it is visible.
_BAR_MIN_HEIGHT = 2.0
# The part of the width of a step that stays empty between two bars.
_GAP_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar, with its position and size in units of the chart, and its count."""

    x: float
    y: float
    width: float
    height: float
    label: str
    orders: int


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of counts. `maximum` is the greatest count, and `total` is their sum."""

    title: str
    bars: list[Bar]
    maximum: int
    total: int
    first_label: str


def draw(title: str, counts: Sequence[Count], time_format: str) -> Chart:
    """Return the chart of counts. `time_format` is a format of `strftime`, for times in UTC."""
    maximum = max((count.orders for count in counts), default=0)
    step = WIDTH / max(1, len(counts))
    bars = []
    for at, count in enumerate(counts):
        height = max(_BAR_MIN_HEIGHT, count.orders / maximum * HEIGHT) if count.orders > 0 else 0.0
        bars.append(
            Bar(
                round(at * step + step * _GAP_SHARE / 2, 2),
                round(HEIGHT - height, 2),
                round(step * (1 - _GAP_SHARE), 2),
                round(height, 2),
                f"{datetime.fromtimestamp(count.start_ms / 1000, UTC):{time_format}}",
                count.orders,
            )
        )
    total = sum(count.orders for count in counts)
    return Chart(title, bars, maximum, total, bars[0].label if bars else "")
