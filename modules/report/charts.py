"""Charts as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 12, 12, 40
_LEAST_RANGE = 0.05  # of parts of 1


class Line(NamedTuple):
    """A line of a chart.

    Attributes:
        name: For the legend.
        xs: Ascending.
        ys: As many; NaN are left out.
        kind: Its class in the style of the page: `candidate`, `baseline`, `third`, `fourth`.
        dots: Whether its points are marked.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    kind: str = "candidate"
    dots: bool = False


class Mark(NamedTuple):
    """A vertical line with a text."""

    x: float
    text: str


class Scale(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value lies, in pixels."""
        low, high = (math.log10(v) if self.log else v for v in (self.low, self.high))
        at = math.log10(max(value, self.low)) if self.log else value
        return self.start + (at - low) / ((high - low) or 1) * (self.end - self.start)


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round values within a range.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low]
    raw = span / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * s for s in (1, 2, 2.5, 5, 10) if power * s >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    x_label: str,
    y_label: str = "",
    log_x: bool = False,
    unit: bool = False,
    marks: Sequence[Mark] = (),
    whole_x: bool = False,
) -> Markup:
    """Draws lines.

    Args:
        lines: At least one with a finite point.
        title: What the chart shows, for those who do not see it.
        x_label: Below.
        y_label: At the side.
        log_x: Powers of ten at even distances; values must be above 0.
        unit: The vertical axis ends at 1 at most.
        marks: Vertical lines.
        whole_x: Ticks at the points of the lines.
    """
    drawn = [_finite(line) for line in lines]
    drawn = [line for line in drawn if line.xs]
    if not drawn:
        return Markup('<p class="pale">Nothing to draw.</p>')
    every_x = [x for line in drawn for x in line.xs]
    every_y = [y for line in drawn for y in line.ys]
    low, high = padded(min(every_y), max(every_y))
    if unit:
        low, high = wide_enough(low, high)
    x = Scale(min(every_x), max(every_x), LEFT, WIDTH - RIGHT, log_x)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    x_ticks = sorted(set(every_x)) if whole_x else _x_ticks(x)
    parts = axes(x, y, x_ticks, ticks(low, high, 4), x_label, y_label)
    for line in drawn:
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(line.xs, line.ys, strict=True))
        parts.append(f'<polyline class="line {line.kind}" points="{path}"/>')
        if line.dots or len(line.xs) == 1:
            parts += [
                f'<circle class="dot {line.kind}" cx="{x(a):.1f}" cy="{y(b):.1f}" r="3.5">'
                f"<title>{escape(f'{line.name}: {b:.4f} at {a:g}')}</title></circle>"
                for a, b in zip(line.xs, line.ys, strict=True)
            ]
    parts += [_mark(mark, x) for mark in marks]
    return _figure(title, parts, [(line.name, line.kind) for line in drawn])


def histogram(
    edges: np.ndarray,
    counts: Sequence[tuple[str, np.ndarray, str]],
    *,
    title: str,
    x_label: str,
    marks: Sequence[Mark] = (),
) -> Markup:
    """Draws histograms over one another, each as parts of its own total.

    Args:
        edges: float [B + 1].
        counts: Name, int [B] and kind of each.
        title: As for `line_chart`.
        x_label: Below.
        marks: Vertical lines.
    """
    parts_of = [(name, values / max(values.sum(), 1), kind) for name, values, kind in counts]
    high = max(float(values.max()) for _, values, _ in parts_of) or 1.0
    x = Scale(float(edges[0]), float(edges[-1]), LEFT, WIDTH - RIGHT)
    y = Scale(0.0, high * 1.05, HEIGHT - BOTTOM, TOP)
    parts = axes(x, y, ticks(x.low, x.high), ticks(0.0, high, 3), x_label, "part of the pairs")
    for _, values, kind in parts_of:
        points = [(x(float(edges[0])), y(0.0))]
        for left, right, value in zip(edges[:-1], edges[1:], values, strict=True):
            points += [(x(float(left)), y(float(value))), (x(float(right)), y(float(value)))]
        points.append((x(float(edges[-1])), y(0.0)))
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(f'<polygon class="area {kind}" points="{path}"/>')
    parts += [_mark(mark, x) for mark in marks]
    return _figure(title, parts, [(name, kind) for name, _, kind in parts_of])


class Change(NamedTuple):
    """A change of a metric, with its interval and the most that it may be worse."""

    name: str
    value: float
    interval: tuple[float, float] | None
    bound: float | None


def change_chart(changes: Sequence[Change], title: str) -> Markup:
    """Draws changes as dots with their intervals beside the line of no change."""
    ends = [0.0]
    for one in changes:
        ends += [one.value, *(one.interval or ()), *(() if one.bound is None else (one.bound,))]
    low, high = padded(min(ends), max(ends))
    height = 34 * len(changes) + 34
    x = Scale(low, high, 130, WIDTH - 16)
    parts = [
        f'<line class="grid" x1="{x(t):.1f}" x2="{x(t):.1f}" y1="6" y2="{height - 26}"/>'
        f'<text class="tick" x="{x(t):.1f}" y="{height - 10}" text-anchor="middle">'
        f"{_signed(t)}</text>"
        for t in ticks(low, high, 4)
    ]
    parts.append(f'<line class="zero" x1="{x(0):.1f}" x2="{x(0):.1f}" y1="2" y2="{height - 26}"/>')
    for number, one in enumerate(changes):
        at = 24 + 34 * number
        parts.append(f'<text class="name" x="0" y="{at + 4}">{escape(one.name)}</text>')
        if one.bound is not None:
            parts.append(
                f'<line class="bound" x1="{x(one.bound):.1f}" x2="{x(one.bound):.1f}" '
                f'y1="{at - 12}" y2="{at + 12}"><title>allowed: {_signed(one.bound)}</title></line>'
            )
        if one.interval:
            a, b = (x(end) for end in one.interval)
            parts.append(f'<line class="interval" x1="{a:.1f}" x2="{b:.1f}" y1="{at}" y2="{at}"/>')
        parts.append(
            f'<circle class="dot candidate" cx="{x(one.value):.1f}" cy="{at}" r="5">'
            f"<title>{escape(one.name)}: {_signed(one.value)}</title></circle>"
        )
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {height}" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.4g}".replace("-", "−")


def _finite(line: Line) -> Line:
    pairs = [
        (a, b)
        for a, b in zip(line.xs, line.ys, strict=True)
        if math.isfinite(a) and math.isfinite(b)
    ]
    return line._replace(xs=[a for a, _ in pairs], ys=[b for _, b in pairs])


def padded(low: float, high: float) -> tuple[float, float]:
    """A range with some room at both ends."""
    space = (high - low) * 0.06 or abs(high) * 0.05 or 0.01
    return low - space, high + space


def wide_enough(low: float, high: float) -> tuple[float, float]:
    """A range of parts of 1 that is not so narrow that rounding looks like a trend."""
    if (missing := _LEAST_RANGE - (high - low)) > 0:
        low, high = low - missing / 2, high + missing / 2
    return max(low, 0.0), min(high, 1.0)


def _x_ticks(x: Scale) -> list[float]:
    if not x.log:
        return ticks(x.low, x.high)
    powers = range(math.ceil(math.log10(x.low) - 1e-9), math.floor(math.log10(x.high) + 1e-9) + 1)
    return [10.0**p for p in powers]


def axes(
    x: Scale,
    y: Scale,
    x_ticks: Sequence[float],
    y_ticks: Sequence[float],
    x_label: str,
    y_label: str,
) -> list[str]:
    """Lines at the ticks of the vertical axis, and the texts of both axes."""
    bottom = HEIGHT - BOTTOM
    parts = [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(t):.1f}" y2="{y(t):.1f}"/>'
        f'<text class="tick" x="{LEFT - 6}" y="{y(t) + 4:.1f}" text-anchor="end">{t:g}</text>'
        for t in y_ticks
    ]
    parts += [
        f'<text class="tick" x="{x(t):.1f}" y="{bottom + 15}" text-anchor="middle">{t:g}</text>'
        for t in x_ticks
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="label" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(x_label)}</text>"
    )
    if y_label:
        parts.append(
            f'<text class="label" x="12" y="{bottom / 2 + TOP}" text-anchor="middle" '
            f'transform="rotate(-90 12 {bottom / 2 + TOP})">{escape(y_label)}</text>'
        )
    return parts


def _mark(mark: Mark, x: Scale) -> str:
    at = min(max(x(mark.x), x.start), x.end)
    side, shift = ("end", -5) if at > (x.start + x.end) / 2 else ("start", 5)
    return (
        f'<line class="mark" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        f'<text class="marked" x="{at + shift:.1f}" y="{TOP + 10}" text-anchor="{side}">'
        f"{escape(mark.text)}</text>"
    )


def _figure(title: str, parts: Sequence[str], legend: Sequence[tuple[str, str]]) -> Markup:
    names = "".join(f'<li class="{kind}"><i></i>{escape(name)}</li>' for name, kind in legend)
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg><ul class="legend">{names}</ul>'
    )
