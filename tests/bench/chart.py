"""The chart of new orders per second, as bars that are readable on light and on dark pages."""

from html import escape

from tests.bench.contenders import OURS, Contender
from tests.bench.report import Measured, median, select

_LABEL_WIDTH = 200
_BARS_WIDTH = 430
_WIDTH = 720
_ROW = 24
_HEAD = 34
_GAP = 18

_STYLE = """\
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.quiet { fill: #59636e; }
rect { fill: #8c959f; }
rect.ours { fill: #0969da; }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc; }
  .quiet { fill: #9198a1; }
  rect { fill: #656c76; }
  rect.ours { fill: #4493f8; }
}"""


def render(contenders: list[Contender], measured: list[Measured]) -> str:
    """Draw one group of bars for each scenario of new orders."""
    scenarios = dict.fromkeys(m.scenario for m in measured if m.scenario.work == "orders")
    y, parts = 0, []
    for scenario in scenarios:
        rates = []
        for contender in contenders:
            windows = select(measured, contender.id, scenario)
            rates.append((contender, median(windows, lambda window: window.per_s)))
        parts.append(_group(f"{scenario.title.capitalize()}: per second", rates, y))
        y += _HEAD + _ROW * len(rates) + _GAP
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y}" width="{_WIDTH}"'
        f' height="{y}" role="img" aria-label="New orders per second">\n'
        f"<style>\n{_STYLE}\n</style>\n{body}\n</svg>\n"
    )


def _group(title: str, rates: list[tuple[Contender, float]], top: int) -> str:
    highest = max(rate for _, rate in rates)
    lines = [f'<text class="title" x="0" y="{top + 20}">{escape(title)}</text>']
    for number, (contender, rate) in enumerate(rates):
        y = top + _HEAD + _ROW * number
        width = max(1, round(rate / highest * _BARS_WIDTH))
        ours = ' class="ours"' if contender.id == OURS else ""
        lines.append(f'<text x="0" y="{y + 13}">{escape(contender.name)}</text>')
        lines.append(
            f'<rect{ours} x="{_LABEL_WIDTH}" y="{y}" width="{width}" height="{_ROW - 7}" rx="2"/>'
        )
        x = _LABEL_WIDTH + width + 8
        lines.append(f'<text class="quiet" x="{x}" y="{y + 13}">{rate:,.0f}</text>')
    return "\n".join(lines)
