"""Trends over the runs of a pipeline, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup, escape

from modules.report.charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Scale,
    axes,
    padded,
    ticks,
    wide_enough,
)


class Point(NamedTuple):
    """One run in a trend.

    Attributes:
        text: What is said of it where the pointer is.
        colour: Of its mark.
        joined: Whether the line goes through it.
        value: Of the metric; None for a run without one.
        before: Of the last blessed model on the same images.
        interval: Of the change from it.
        link: Address of its report.
    """

    text: str
    colour: str
    joined: bool = False
    value: float | None = None
    before: float | None = None
    interval: tuple[float, float] | None = None
    link: str | None = None


def trend_chart(points: Sequence[Point], *, title: str, unit: bool = False) -> Markup:
    """Draws runs from the first to the last; a mark leads to the report of its run.

    Args:
        points: Oldest first.
        title: What the chart shows.
        unit: The values are parts of 1.
    """
    valued = [(number, one) for number, one in enumerate(points, 1) if one.value is not None]
    if not valued:
        return Markup('<p class="pale">No run has a figure yet.</p>')
    every = [v for _, one in valued for v in (one.value, one.before) if v is not None]
    low, high = padded(min(every), max(every))
    if unit:
        low, high = wide_enough(low, high)
    x = Scale(0.5, len(points) + 0.5, LEFT, WIDTH - RIGHT)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    at = [float(n) for n in range(1, len(points) + 1, -(-len(points) // 8))]
    parts = axes(x, y, at, ticks(low, high, 4), "run", "")
    path = [(x(n), y(one.value)) for n, one in valued if one.joined and one.value is not None]
    joined = " ".join(f"{a:.1f},{b:.1f}" for a, b in path)
    parts.append(f'<polyline class="line" points="{joined}"/>')
    for number, one in valued:
        assert one.value is not None
        a, b = x(number), y(one.value)
        if one.before is not None:
            parts += _compared(a, y, one.before, one.interval)
        mark = (
            f'<circle class="dot" style="fill: {one.colour}" cx="{a:.1f}" cy="{b:.1f}" r="5">'
            f"<title>{escape(one.text)}</title></circle>"
        )
        link = one.link and f'<a href="{escape(one.link)}">{mark}</a>'
        parts.append(link or mark)
    return Markup(
        f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def _compared(x: float, y: Scale, before: float, interval: tuple[float, float] | None) -> list[str]:
    """A dash for the last blessed model, and the interval of the change on its scale."""
    at = y(before)
    parts = [f'<line class="zero" x1="{x - 6:.1f}" x2="{x + 6:.1f}" y1="{at:.1f}" y2="{at:.1f}"/>']
    if interval:
        low, high = (min(max(y(before + end), TOP), HEIGHT - BOTTOM) for end in interval)
        parts.append(
            f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
        )
    return parts
