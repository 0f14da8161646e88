"""The picture of a pipeline's runs over time."""

from __future__ import annotations

import datetime
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.metadata import BASELINE, CANDIDATE, RunState, RunSummary

if TYPE_CHECKING:  # takes a second to load
    from matplotlib.lines import Line2D

_ORDER = list(RunState)  # of the legend
_LEAST_RANGE = 0.02  # of a metric; else rounding looks like progress
_METRICS = {"precision@": "P@1", "map@r": "MAP@R"}


def history_png(pipeline: str, runs: Sequence[RunSummary]) -> bytes:
    """Draws metrics and amounts of the runs over time, and marks what became of each.

    Args:
        pipeline: Its name, for the title.
        runs: Oldest first.

    Returns:
        A PNG file.
    """
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), dpi=110, layout="constrained")
    *above, below = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 2))
    for axes, (metric, title) in zip(above, _METRICS.items(), strict=True):
        _draw_metric(axes, runs, metric)
        axes.set_ylabel(_first_name(runs, metric) or title)
    _draw_work(below, runs)
    for axes in (*above, below):
        axes.grid(axis="y", color="#d0d7de", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    locator = AutoDateLocator(minticks=3, maxticks=9)
    below.xaxis.set_major_locator(locator)
    below.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    figure.suptitle(f"Runs of {pipeline}", x=0.01, ha="left", fontweight="bold")
    figure.legend(
        handles=_legend(runs), loc="outside upper right", ncols=5, frameon=False, fontsize=9
    )
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def started(run: RunSummary) -> datetime.datetime:
    """When a run started, in local time."""
    return datetime.datetime.fromisoformat(run.started)


def _first_name(runs: Sequence[RunSummary], prefix: str) -> str | None:
    names = (name for r in runs for name in r.metrics.get(CANDIDATE, {}))
    name = next((name for name in names if name.startswith(prefix)), None)
    return name and name.replace("precision@", "P@").replace("map@r", "MAP@R")


def _judged(runs: Sequence[RunSummary]) -> list[RunSummary]:
    return [run for run in runs if run.state.meaning.is_judged]


def _draw_metric(axes: Any, runs: Sequence[RunSummary], metric: str) -> None:
    """Candidates as markers, a line through the pushed ones, the baseline on the same data.

    A bar around a candidate is the interval of its change, on the scale of the baseline: where it
    does not reach the baseline, the candidate is surely better or worse.

    `axes` are matplotlib's, whose types know no times.
    """
    judged = [r for r in _judged(runs) if r.metric(CANDIDATE, metric) is not None]
    pushed = [r for r in judged if r.version is not None]
    axes.plot(
        [started(r) for r in pushed],
        [r.metric(CANDIDATE, metric) for r in pushed],
        color=RunState.PUSHED.meaning.colour,
        linewidth=1.4,
        zorder=2,
    )
    for run in judged:
        when, value = started(run), run.metric(CANDIDATE, metric)
        before = run.metric(BASELINE, metric)
        colour, marker = run.state.meaning.colour, run.state.meaning.marker
        if before is not None:
            if ends := run.interval(metric):
                of_candidate = [before + end for end in ends]
                axes.vlines(when, *of_candidate, color=colour, linewidth=5, alpha=0.25, zorder=1)
            axes.plot([when, when], [before, value], color=colour, linewidth=0.8, alpha=0.6)
            axes.plot(when, before, "_", color="#24292f", markersize=11, markeredgewidth=1.6)
        axes.plot(when, value, marker, color=colour, markersize=8, markeredgecolor="w", zorder=3)
    low, high = axes.get_ylim()
    if judged and high - low < _LEAST_RANGE:
        axes.set_ylim((low + high - _LEAST_RANGE) / 2, (low + high + _LEAST_RANGE) / 2)
    axes.ticklabel_format(axis="y", style="plain", useOffset=False)
    for run in runs:
        if run.state.meaning.is_marked:
            colour = run.state.meaning.colour
            axes.axvline(started(run), color=colour, linewidth=1, linestyle=":")


def _draw_work(axes: Any, runs: Sequence[RunSummary]) -> None:
    """Minutes of each run, with the span that it read."""
    for run in runs:
        colour, marker = run.state.meaning.colour, run.state.meaning.marker
        minutes, when = run.seconds / 60, started(run)
        axes.vlines(when, 0, minutes, color=colour, linewidth=1.2)
        axes.plot(
            when, minutes, marker, color=colour, markersize=8, markeredgecolor="w", clip_on=False
        )
        if run.span is not None and run.state.meaning.has_own_span:
            axes.annotate(
                str(run.span), (when, minutes), (0, 7), textcoords="offset points",
                ha="center", fontsize=8, color="#57606a",
            )  # fmt: skip
    axes.set_ylim(0, 1.25 * max(run.seconds / 60 for run in runs) or 1)
    spans = any(run.span is not None for run in runs)
    axes.set_ylabel("minutes (span above)" if spans else "minutes")


def _legend(runs: Sequence[RunSummary]) -> list[Line2D]:
    from matplotlib.lines import Line2D

    seen = {run.state: run.state.meaning for run in runs}
    found = [
        Line2D(
            [], [], color=meaning.colour, marker=meaning.marker, linestyle="", markersize=8,
            label=state,
        )
        for state, meaning in sorted(seen.items(), key=lambda item: _ORDER.index(item[0]))
    ]  # fmt: skip
    if any(run.metrics.get(BASELINE) for run in runs):
        found.append(
            Line2D([], [], color="#24292f", marker="_", linestyle="", markersize=11,
                   markeredgewidth=1.6, label="last blessed, same data")
        )  # fmt: skip
    if any(run.intervals for run in runs):
        found.append(
            Line2D([], [], color="#57606a", marker="|", linestyle="", markersize=11,
                   markeredgewidth=5, alpha=0.4, label="interval of the change")
        )  # fmt: skip
    return found
