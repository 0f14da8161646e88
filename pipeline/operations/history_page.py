"""The page of all runs: trends, and a link to the report of each."""

from __future__ import annotations

import os
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup

from modules.report import Point, render, trend_chart
from pipeline.metadata import BASELINE, CANDIDATE, RunState, RunSummary
from pipeline.operations.history_table import RIGHT, history_rows

_METRICS = {"precision@": "P@1", "map@r": "MAP@R"}


def history_page(
    pipeline: str, runs: Sequence[RunSummary], sentences: Sequence[str], folder: Path
) -> str:
    """One HTML file with the trends and the table, the latest run first.

    Args:
        pipeline: Its name.
        runs: Oldest first.
        sentences: What to say above them.
        folder: Where the page will lie: links to reports on this machine start there.
    """
    rows = history_rows(runs)
    shown = [column for column in rows[0] if any(row[column] for row in rows)]
    entries = [
        {
            "cells": {column: _cell(run, row, column) for column in shown},
            "colour": run.state.meaning.colour,
            "report": report_link(run, folder),
        }
        for run, row in zip(runs, rows, strict=True)
    ]
    states = {run.state: run.state.meaning.colour for run in runs}
    return render(
        "runs.html",
        name=pipeline,
        sentences=sentences,
        charts=_charts(runs, folder),
        states=sorted(states.items(), key=lambda item: list(RunState).index(item[0])),
        columns=shown,
        right=RIGHT,
        runs=entries[::-1],
    )


def _cell(run: RunSummary, row: dict[str, str], column: str) -> str:
    """As in the table of a terminal, but with all lines of a reason."""
    if column == "reason" and row[column]:
        return run.reason or row[column]
    return row[column]


def report_link(run: RunSummary, folder: Path) -> str | None:
    """The address of a run's report, from a page in a folder; None if there is none.

    An address in an object store is left as it is: a browser may not open it, people can copy it.
    """
    if run.report is None or "://" in run.report:
        return run.report
    return urllib.parse.quote(os.path.relpath(run.report, folder))


def _charts(runs: Sequence[RunSummary], folder: Path) -> list[tuple[str, Markup]]:
    charts = []
    for metric, title in _METRICS.items():
        points = [
            Point(
                f"{run.started}, {run.state}: {_figure(run.metric(CANDIDATE, metric))}",
                run.state.meaning.colour,
                run.version is not None,
                run.metric(CANDIDATE, metric) if run.state.meaning.is_judged else None,
                run.metric(BASELINE, metric),
                run.interval(metric),
                report_link(run, folder),
            )
            for run in runs
        ]
        charts.append((title, trend_chart(points, title=f"{title} of the runs", unit=True)))
    minutes = [
        Point(
            f"{run.started}, {run.state}: {run.seconds / 60:.1f} minutes",
            run.state.meaning.colour,
            value=run.seconds / 60,
            link=report_link(run, folder),
        )
        for run in runs
    ]
    charts.append(("Minutes", trend_chart(minutes, title="Minutes of the runs")))
    return charts


def _figure(value: float | None) -> str:
    return "no figure" if value is None else f"{value:.4f}"
