"""The plot of a run: bars on a logarithmic scale, written as SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Final
from xml.sax.saxutils import escape

from bench.figures import Figure, Table
from bench.report import number

_WIDTH: Final = 900
_LABELS: Final = 370
_BARS: Final = 400
_BAR: Final = 18
_LINE: Final = 26
_TITLE: Final = 44
_GAP: Final = 20

_STYLE: Final = (
    "text{font:13px system-ui,sans-serif;fill:#222}.title{font-weight:600;font-size:15px}.own{fill:#0b7285}"
    ".other{fill:#adb5bd}.spread{stroke:#495057;stroke-width:1.5}.grid{stroke:#dee2e6}"
    "@media(prefers-color-scheme:dark){text{fill:#eee}.grid{stroke:#444}.spread{stroke:#ced4da}.other{fill:#6c757d}}"
)


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar: a case of a table, and whether it is aupgate itself."""

    case: str
    figure: Figure
    own: bool


@dataclass(frozen=True, slots=True)
class Panel:
    """One group of bars: a column of a table."""

    title: str
    unit: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        return _TITLE + _LINE * len(self.bars) + _GAP


def panels(tables: Sequence[Table]) -> list[Panel]:
    """Return a panel for the first column of each table, and nothing for tables without figures."""
    found = []
    for table in tables:
        column, unit = next(iter(table.columns.items()))
        figures = [(case, row.figures[column]) for case, row in table.rows.items() if column in row.figures]
        bars = [Bar(case, figure, "aupgate" in case + table.title) for case, figure in figures if figure.median > 0]
        if bars:
            found.append(Panel(table.title, unit, bars))
    return found


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic scale over whole decades."""

    low: int
    high: int

    @classmethod
    def of(cls, bars: Sequence[Bar]) -> "Scale":
        lows = [bar.figure.median for bar in bars]
        highs = [bar.figure.highest for bar in bars]
        low = floor(log10(min(lows)) - 0.2)
        return cls(low, max(low + 1, ceil(log10(max(highs)))))

    def at(self, value: float) -> float:
        """Return how far from the left a value is, in pixels."""
        share = (log10(max(value, 10.0**self.low)) - self.low) / (self.high - self.low)
        return _LABELS + _BARS * share


def svg(tables: Sequence[Table]) -> str:
    """Return the plot of the tables, one panel below the other."""
    shown = panels(tables)
    height = sum(panel.height for panel in shown) + _GAP
    top = _GAP
    body: list[str] = []
    for panel in shown:
        body += _panel(panel, top)
        top += panel.height
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}" viewBox="0 0 {_WIDTH} {height}">'
    )
    return "\n".join([head, f"<style>{_STYLE}</style>", *body, "</svg>", ""])


def _panel(panel: Panel, top: int) -> Iterator[str]:
    scale = Scale.of(panel.bars)
    yield f'<text class="title" x="10" y="{top + 16}">{escape(panel.title)} ({escape(panel.unit)}, logarithmic)</text>'
    bottom = top + _TITLE + _LINE * len(panel.bars) - 4
    for decade in range(scale.low, scale.high + 1):
        x = scale.at(10.0**decade)
        yield f'<line class="grid" x1="{x:.1f}" y1="{top + 36}" x2="{x:.1f}" y2="{bottom}"/>'
        yield f'<text x="{x:.1f}" y="{top + 33}" text-anchor="middle">{10.0**decade:,.{max(0, -decade)}f}</text>'
    for place, bar in enumerate(panel.bars):
        yield from _bar(bar, scale, top + _TITLE + _LINE * place)


def _bar(bar: Bar, scale: Scale, y: int) -> Iterator[str]:
    figure, middle = bar.figure, y + _BAR / 2
    end, low, high = (scale.at(value) for value in (figure.median, figure.lowest, figure.highest))
    kind, width = "own" if bar.own else "other", max(1.0, end - _LABELS)
    yield f'<text x="{_LABELS - 8}" y="{y + 14}" text-anchor="end">{escape(bar.case)}</text>'
    yield f'<rect class="{kind}" x="{_LABELS}" y="{y}" width="{width:.1f}" height="{_BAR}"/>'
    yield f'<line class="spread" x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}"/>'
    yield f'<text x="{max(end, high) + 6:.1f}" y="{y + 14}">{number(figure.median)}</text>'
