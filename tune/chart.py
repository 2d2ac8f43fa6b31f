"""The picture as SVG: throughput against the time for one clip; losers grey, the reason beside their number.

Drawn here because a server has no matplotlib, and the picture is rectangles, circles and text.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from tune.measurements import Cell, Spread

WIDTH, PLOT_WIDTH, PLOT_HEIGHT = 1180, 470, 420
LEFT, TOP, LIST_LEFT, LINE = 62, 56, 566, 17
PAPER, INK, SOFT, GRID = "#ffffff", "#1c2733", "#9aa5b1", "#e4e8ec"
WINNER, EQUAL = "#0b7a4b", "#2f6fb3"
FONTS = "system-ui, 'DejaVu Sans', 'Noto Sans', sans-serif"
STEPS = (1, 2, 5)


@dataclass(frozen=True, slots=True)
class Scale:
    """A logarithmic axis: values → pixels."""

    low: float
    high: float
    first: float  # pixel of `low`
    last: float

    @classmethod
    def over(cls, values: Sequence[float], first: float, last: float) -> Scale:
        return cls(min(values) / 1.15, max(values) * 1.15, first, last)

    def at(self, value: float) -> float:
        share = math.log(value / self.low) / math.log(self.high / self.low)
        return self.first + share * (self.last - self.first)

    def ticks(self) -> list[float]:
        """1, 2, 5, 10 … within the axis; more where it is short."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in (STEPS, (1, 1.5, 2, 3, 4, 5, 6, 8)):
            found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
            if len(found) >= 3:
                break
        return found


def _ends(spreads: Iterable[Spread]) -> list[float]:
    """The lowest and the highest of each: the lines through the points stay inside."""
    return [end for spread in spreads for end in (spread.low, spread.high)]


def chart(title: str, winner: Cell, ranked: Sequence[Cell]) -> str:
    """The document; `ranked` begins with the winner, and a cell's number is its place."""
    measured = [(number, cell) for number, cell in enumerate(ranked, 1) if cell.samples]
    across = Scale.over(_ends(cell.clip_s for _, cell in measured), LEFT, LEFT + PLOT_WIDTH)
    up = Scale.over(_ends(cell.throughput for _, cell in measured), TOP + PLOT_HEIGHT, TOP)
    height = max(TOP + PLOT_HEIGHT + 90, TOP + 2 * LINE * len(ranked) + 30)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="{FONTS}" font-size="12" fill="{INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="{PAPER}"/>',
        f'<text x="{LEFT}" y="28" font-size="15">{escape(title)}</text>',
        *_axes(across, up, winner.samples[0].clip_audio_s),
        # the winner last, above the others
        *(_point(number, cell, winner, across, up) for number, cell in reversed(measured)),
        *_list(ranked, winner),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _axes(across: Scale, up: Scale, clip_s: float) -> list[str]:
    bottom, right = TOP + PLOT_HEIGHT, LEFT + PLOT_WIDTH
    parts = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="{SOFT}"/>']
    for value in across.ticks():
        x = across.at(value)
        parts.append(f'<path d="M{x:.1f} {TOP}V{bottom}" stroke="{GRID}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>')
    for value in up.ticks():
        y = up.at(value)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{right}" stroke="{GRID}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    middle = (LEFT + right) / 2
    captions = (
        (40, INK, f"seconds for one clip of {clip_s:.1f} s alone"),
        (66, "#5d6974", "green: the winner · blue: no clear difference · grey: out · lines: the rounds"),
    )
    for below, colour, text in captions:
        place = f'x="{middle}" y="{bottom + below}" text-anchor="middle"'
        parts.append(f'<text {place} fill="{colour}">{text}</text>')
    place = f'x="18" y="{(TOP + bottom) / 2}" transform="rotate(-90 18 {(TOP + bottom) / 2})"'
    parts.append(f'<text {place} text-anchor="middle">× real time, all recordings together</text>')
    return parts


def _point(number: int, cell: Cell, winner: Cell, across: Scale, up: Scale) -> str:
    x, y, ink = across.at(cell.clip_s.median), up.at(cell.throughput.median), _ink(cell, winner)
    clip, side_by_side = cell.clip_s, cell.throughput
    name = escape(f"{cell.configuration}: {cell.verdict}")
    return (
        f"<g><title>{name}</title>"
        f'<path d="M{across.at(clip.low):.1f} {y:.1f}H{across.at(clip.high):.1f}'
        f'M{x:.1f} {up.at(side_by_side.low):.1f}V{up.at(side_by_side.high):.1f}" stroke="{ink}"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" fill="{ink}"/>'
        f"{_number(number, x, y + 4)}</g>"
    )


def _list(ranked: Sequence[Cell], winner: Cell) -> list[str]:
    parts = []
    for number, cell in enumerate(ranked, 1):
        y, ink = TOP + 2 * LINE * (number - 1) + 4, _ink(cell, winner)
        weight = ' font-weight="bold"' if cell is winner else ""
        figures = ""
        if cell.samples:
            figures = f": {cell.throughput.median:.1f} × real time, {cell.clip_s.median:.2f} s a clip"
        first = escape(f"{cell.configuration}{figures}")
        second = escape(cell.verdict)
        parts.append(f'<circle cx="{LIST_LEFT}" cy="{y - 4}" r="9" fill="{ink}"/>')
        parts.append(_number(number, LIST_LEFT, y))
        colour = INK if cell is winner else "#5d6974"
        parts.append(f'<text x="{LIST_LEFT + 16}" y="{y}"{weight} fill="{colour}">{first}</text>')
        parts.append(f'<text x="{LIST_LEFT + 16}" y="{y + LINE - 2}" fill="#7a8691">{second}</text>')
    return parts


def _number(number: int, x: float, y: float) -> str:
    """In the middle of a circle."""
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="middle"'
    return f'<text {place} fill="{PAPER}" font-size="11">{number}</text>'


def _ink(cell: Cell, winner: Cell) -> str:
    if cell is winner:
        return WINNER
    return EQUAL if cell.loses.startswith("no clear difference") else SOFT
