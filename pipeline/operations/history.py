"""All runs as a table, JSON, a picture or a page."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
from collections.abc import Sequence
from pathlib import Path

import click

from pipeline.config import Config
from pipeline.metadata import RunSummary, read_runs
from pipeline.operations.history_table import RIGHT, describe_changes, history_rows, print_runs
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
        page: Also write a page with picture and table to this file.

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
    if png or page:
        from pipeline.operations.history_plot import history_png

        picture = history_png(pipeline, runs)
        if png:
            contents[png] = picture
        if page:
            contents[page] = history_page(pipeline, runs, sentences, picture).encode()
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Runs of {name}</title>
<meta name="viewport" content="width=device-width">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; color: #24292f; margin: 2rem; }}
img {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }}
th, td {{ padding: .3rem .6rem; border-bottom: 1px solid #d0d7de; text-align: left; }}
th {{ position: sticky; top: 0; background: #f6f8fa; }}
td.right, th.right {{ text-align: right; }}
td.reason {{ min-width: 18rem; white-space: pre-line; }}
</style>
<h1>Runs of {name}</h1>
{sentences}
<img alt="Metrics and duration of the runs over time" src="data:image/png;base64,{picture}">
<table>
<tr>{head}</tr>
{rows}
</table>
</html>
"""


def history_page(
    pipeline: str, runs: Sequence[RunSummary], sentences: Sequence[str], picture: bytes
) -> str:
    """One HTML file with all of it, the latest run first.

    Args:
        pipeline: Its name.
        runs: Oldest first.
        sentences: What to say above the picture.
        picture: As `history_png` draws it.
    """
    rows = history_rows(runs)

    def cell(tag: str, column: str, text: str, style: str = "") -> str:
        kind = "right" if column in RIGHT else column.partition(" ")[0]
        return f'<{tag} class="{kind}"{style}>{html.escape(text)}</{tag}>'

    lines = []
    for run, row in zip(reversed(runs), reversed(rows), strict=True):
        colour = {"state": f' style="color: {run.state.meaning.colour}"'}
        texts = {**row, "reason": (run.reason or "") if row["reason"] else ""}
        cells = "".join(cell("td", c, texts[c] or row[c], colour.get(c, "")) for c in row)
        lines.append(f"<tr>{cells}</tr>")
    return _PAGE.format(
        name=html.escape(pipeline),
        sentences="\n".join(f"<p>{html.escape(s)}</p>" for s in sentences),
        picture=base64.b64encode(picture).decode(),
        head="".join(cell("th", column, column) for column in rows[0]),
        rows="\n".join(lines),
    )
