"""All runs as a table, JSON, a picture or a page."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.config import Config
from pipeline.metadata import RunSummary, read_runs
from pipeline.operations.history_table import describe_changes, print_runs
from pipeline.operations.sentences import describe_rejections, describe_run
from pipeline.runtime import NotRunError, Terminal


def show_history(
    config: Config,
    *,
    last: int | None = None,
    as_json: bool = False,
    png: Path | None = None,
    page: Path | None = None,
) -> None:
    """Prints the runs of a pipeline.

    Args:
        config: The pipeline, here or in the cluster.
        last: Only so many of the latest runs; default: all.
        as_json: As a JSON list of `RunSummary`, oldest first, in place of the table.
        png: Also write the picture to this file.
        page: Also write a page with trends, table and links to the reports to this file.

    Raises:
        NotRunError: It has not run yet.
    """
    every = read_runs(config)
    if not every:
        raise NotRunError(
            f"Pipeline {config.pipeline.name!r} has not run yet: nothing in {config.database}."
        )
    sentences = [
        *describe_run(every[-1], every),
        *describe_rejections(every, config.retraining.alert_after),
    ]
    runs = every[-(last or len(every)) :]
    if changes := describe_changes(runs):
        sentences.append(changes)
    _write_files(config.pipeline.name, runs, sentences, png, page)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(run) for run in runs], indent=2))
        return
    console = Terminal(highlight=False)
    print_runs(console, config.pipeline.name, runs)
    for line in sentences:
        console.print(line, markup=False)
    if runs[-1].report:
        console.print(f"Report of the latest run: {runs[-1].report}", markup=False)
    for path in filter(None, (png, page)):
        console.print(f"Wrote {path}", markup=False)


def _write_files(
    pipeline: str,
    runs: Sequence[RunSummary],
    sentences: Sequence[str],
    png: Path | None,
    page: Path | None,
) -> None:
    contents: dict[Path, bytes] = {}
    if png:
        from pipeline.operations.history_plot import history_png

        contents[png] = history_png(pipeline, runs)
    if page:
        from pipeline.operations.history_page import history_page

        contents[page] = history_page(pipeline, runs, sentences, page.parent.absolute()).encode()
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
