"""Plots as SVG text, for pages that must stand alone: lines, points with intervals, linear, log and logit axes.

Colours are CSS variables of the page, so that a plot follows light, dark and print.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

_WIDTH, _HEIGHT = 560, 380
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 26, 14, 46
_LEGEND_LINE: Final = 18


class Axis(msgspec.Struct, frozen=True):
    """An axis from ``low`` to ``high``; ``scale`` is linear, log or logit; ``ticks`` are (value, text)."""

    title: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    scale: str = "linear"

    def at(self, value: float) -> float:
        """Where ``value`` lies between 0 and 1; what lies outside is put on the edge."""
        bend = _BENDS[self.scale]
        inside = min(max(value, self.low), self.high)
        return (bend(inside) - bend(self.low)) / (bend(self.high) - bend(self.low))


class Series(msgspec.Struct, frozen=True):
    """A line, or points with a shape; ``whiskers`` are (low, high) of each point. ``colour`` is a CSS variable."""

    name: str
    colour: str
    x: Sequence[float]
    y: Sequence[float]
    line: bool = True
    dashed: bool = False
    shape: str = "circle"
    whiskers: Sequence[tuple[float, float]] = ()


def _logit(value: float) -> float:
    return math.log(value / (1.0 - value))


_BENDS: Final[dict[str, Callable[[float], float]]] = {"linear": float, "log": math.log10, "logit": _logit}


def plot(
    x: Axis,
    y: Axis,
    series: Sequence[Series],
    *,
    title: str,
    mark_x: float | None = None,
    mark_text: str = "",
    diagonal: bool = False,
    legend: str = "bottom right",
) -> str:
    """The plot as an SVG element; ``title`` is read out to people who do not see it."""
    wide, high = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def px(value: float) -> float:
        return round(_LEFT + x.at(value) * wide, 1)

    def py(value: float) -> float:
        return round(_TOP + (1.0 - y.at(value)) * high, 1)

    out = [
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{html.escape(title)}">',
        f"<title>{html.escape(title)}</title>",
    ]
    bottom, right = _TOP + high, _LEFT + wide
    for value, text in x.ticks:
        at = px(value)
        out.append(f'<line class="grid" x1="{at}" y1="{_TOP}" x2="{at}" y2="{bottom}"/>')
        out.append(f'<text class="tick" x="{at}" y="{bottom + 16}" text-anchor="middle">{html.escape(text)}</text>')
    for value, text in y.ticks:
        at = py(value)
        out.append(f'<line class="grid" x1="{_LEFT}" y1="{at}" x2="{right}" y2="{at}"/>')
        out.append(f'<text class="tick" x="{_LEFT - 7}" y="{at + 4}" text-anchor="end">{html.escape(text)}</text>')
    middle = _LEFT + wide / 2
    out.append(f'<text class="axis" x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{html.escape(x.title)}</text>')
    turned = f"translate(14 {_TOP + high / 2}) rotate(-90)"
    out.append(f'<text class="axis" transform="{turned}" text-anchor="middle">{html.escape(y.title)}</text>')
    if diagonal:
        points = [x.low + (x.high - x.low) * step / 50 for step in range(51)]
        path = " ".join(f"{px(value)},{py(value)}" for value in points)
        out.append(f'<polyline class="mark" points="{path}"/>')
    if mark_x is not None:
        at = px(mark_x)
        out.append(f'<line class="mark" x1="{at}" y1="{_TOP}" x2="{at}" y2="{bottom}"/>')
        out.append(f'<text class="tick" x="{at + 5}" y="{_TOP + 12}">{html.escape(mark_text)}</text>')
    for one in series:
        out += _drawn(one, px, py)
    out += _legend(series, legend, right, bottom)
    out.append("</svg>")
    return "\n".join(out)


def _drawn(one: Series, px: Callable[[float], float], py: Callable[[float], float]) -> list[str]:
    style = f"stroke:var(--{one.colour})"
    out: list[str] = []
    places = [(px(a), py(b)) for a, b in zip(one.x, one.y, strict=True)]
    if one.line and places:
        path = " ".join(f"{a},{b}" for a, b in places)
        dash = ' stroke-dasharray="6 4"' if one.dashed else ""
        out.append(f'<polyline class="line" style="{style}"{dash} points="{path}"/>')
        return out
    for (a, _b), (low, high) in zip(places, one.whiskers, strict=bool(one.whiskers)):
        out.append(f'<line class="whisker" style="{style}" x1="{a}" y1="{py(low)}" x2="{a}" y2="{py(high)}"/>')
    return out + [_point(one, a, b) for a, b in places]


def _point(one: Series, a: float, b: float) -> str:
    fill = f'class="point" style="fill:var(--{one.colour})"'
    if one.shape == "square":
        return f'<rect {fill} x="{a - 5}" y="{b - 5}" width="10" height="10"/>'
    if one.shape == "diamond":
        return f'<path {fill} d="M{a} {b - 7}L{a + 7} {b}L{a} {b + 7}L{a - 7} {b}Z"/>'
    return f'<circle {fill} cx="{a}" cy="{b}" r="4.5"/>'


def _legend(series: Sequence[Series], place: str, right: float, bottom: float) -> list[str]:
    if len(series) < 2:
        return []
    wide = 40 + 6.6 * max(len(one.name) for one in series)
    tall = _LEGEND_LINE * len(series) + 8
    left = right - wide - 8 if "right" in place else _LEFT + 8
    top = bottom - tall - 8 if "bottom" in place else _TOP + 8
    out = [f'<rect class="legend" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall}" rx="4"/>']
    for number, one in enumerate(series):
        y = top + 17 + number * _LEGEND_LINE
        if one.line:
            dash = ' stroke-dasharray="6 4"' if one.dashed else ""
            style = f"stroke:var(--{one.colour})"
            out.append(
                f'<line class="line" style="{style}"{dash} x1="{left + 8:.1f}" y1="{y - 4:.1f}" '
                f'x2="{left + 28:.1f}" y2="{y - 4:.1f}"/>'
            )
        else:
            out.append(_point(one, round(left + 18, 1), round(y - 4, 1)))
        out.append(f'<text class="tick" x="{left + 35:.1f}" y="{y:.1f}">{html.escape(one.name)}</text>')
    return out


def bar_cell(value: float | None, low: float | None, high: float | None, colour: str) -> str:
    """A share from 0 to 1 as a small bar with its interval, for a cell of a table; empty when nothing is known."""
    if value is None or math.isnan(value):
        return ""
    wide, tall, middle = 110, 14, 7
    out = [f'<svg class="bar" viewBox="0 0 {wide} {tall}" width="{wide}" height="{tall}" aria-hidden="true">']
    out.append(f'<rect class="track" x="0" y="3" width="{wide}" height="8" rx="2"/>')
    out.append(f'<rect style="fill:var(--{colour})" x="0" y="3" width="{value * wide:.1f}" height="8" rx="2"/>')
    if low is not None and high is not None and high > low:
        ends = f'x1="{low * wide:.1f}" y1="{middle}" x2="{high * wide:.1f}" y2="{middle}"'
        out.append(f'<line class="range" {ends}/>')
    return "".join([*out, "</svg>"])
