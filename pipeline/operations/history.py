"""`python -m pipeline history`: all runs as a table, JSON, a picture or a page."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.config import load_config
from pipeline.metadata import BASELINE, CANDIDATE, RunSummary, read_runs
from pipeline.operations.sentences import describe_rejections, describe_run, format_spans
from pipeline.runtime import ConfigError

_STYLES = {
    "pushed": "green",
    "rejected": "bold red",
    "data rejected": "bold yellow",
    "failed": "bold red",
    "killed": "magenta",
    "running": "cyan",
    "nothing new": "dim",
}
_RIGHT = {"images", "triplets", "P", "last blessed P", "MAP@R", "last blessed MAP@R", "seconds"}


@click.command("history")
@click.option("--config", "config_name", help="TOML file or name of a ready configuration.")
@click.option("--last", type=click.IntRange(min=1), help="Only so many of the latest runs.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
@click.option("--png", type=click.Path(dir_okay=False, path_type=Path), help="Write a picture.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write a page with the picture and the table, in one file.",
)
def history_command(
    config_name: str | None, last: int | None, as_json: bool, png: Path | None, page: Path | None
) -> None:
    """Show the runs over time: spans, metrics, blessings, pushes."""
    config = load_config(config_name)
    every = read_runs(config)
    if not every:
        raise ConfigError(
            f"Pipeline {config.pipeline.name!r} has not run yet: nothing in "
            f"{config.pipeline.metadata}."
        )
    sentences = [
        *describe_run(every[-1], every),
        *describe_rejections(every, config.retraining.alert_after),
    ]
    records = [_complete(record) for record in every[-(last or len(every)) :]]
    if png or page:
        from pipeline.operations.history_plot import history_png

        picture = history_png(config.pipeline.name, records)
        for path, content in (
            (png, picture),
            (
                page,
                page and history_page(config.pipeline.name, records, sentences, picture).encode(),
            ),
        ):
            if path:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
    if as_json:
        click.echo(json.dumps([dataclasses.asdict(record) for record in records], indent=2))
        return
    console, table = Console(highlight=False), _table(config.pipeline.name, records)
    # Complete at any width: a narrow terminal wraps the lines, and a pipe has no width.
    console.width = max(console.width, Console(width=10_000).measure(table).minimum)
    console.print(table)
    for line in sentences:
        console.print(line, markup=False)
    for path in filter(None, (png, page)):
        console.print(f"Wrote {path}", markup=False)


def _complete(record: RunSummary) -> RunSummary:
    """Reads the metrics of an evaluation that does not carry them, from its files."""
    if record.metrics or not record.evaluation or not Path(record.evaluation).exists():
        return record
    from pipeline.runtime import quiet_imports

    with quiet_imports():
        import tfx.v1  # noqa: F401  # before TFMA, which can come up without its protos alone

        from modules.gate import OVERALL, read_metrics
    metrics = {
        model: {
            name: value
            for name, value in slices[OVERALL].items()
            if name in ("precision@1", "map@r", "queries")
        }
        for model, slices in read_metrics(record.evaluation).items()
        if model in (CANDIDATE, BASELINE)
    }
    return dataclasses.replace(record, metrics=metrics)


def history_rows(records: Sequence[RunSummary]) -> list[dict[str, str]]:
    """The cells of the table, by column."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        {
            "started": record.started,
            "state": record.state,
            "span": number(record.span, ""),
            "window": format_spans(record.window),
            "images": number(record.images, ","),
            "triplets": number(record.triplets, ","),
            "P": number(record.metric(CANDIDATE, "precision@"), ".4f"),
            "last blessed P": number(record.metric(BASELINE, "precision@"), ".4f"),
            "MAP@R": number(record.metric(CANDIDATE, "map@r"), ".4f"),
            "last blessed MAP@R": number(record.metric(BASELINE, "map@r"), ".4f"),
            "blessed": {True: "yes", False: "no", None: ""}[record.blessed],
            "version": record.version or "",
            "seconds": f"{record.seconds:,.0f}",
            "reason": _short(record),
        }
        for record in records
    ]


def _short(record: RunSummary) -> str:
    """The first line of the reason, where there is something to explain."""
    if record.state in ("killed", "running"):
        return f"at {record.node}"
    if not record.reason or (record.state in ("pushed", "nothing new") and record.blessed):
        return ""
    first, _, more = record.reason.partition("\n")
    return f"{first} …" if more else first


def _table(pipeline: str, records: Sequence[RunSummary]) -> Table:
    table = Table(title=f"Runs of {pipeline}", title_justify="left")
    rows = history_rows(records)
    shown = [column for column in rows[0] if any(row[column] for row in rows)]
    for column in shown:
        title = column.replace("last blessed ", "before: ")
        width = 36 if column == "reason" else max(len(row[column]) for row in rows)
        table.add_column(
            title, justify="right" if column in _RIGHT else "left", min_width=max(width, len(title))
        )
    for record, row in zip(records, rows, strict=True):
        style = _STYLES[record.state]
        cells = {column: escape(row[column]) for column in shown}
        cells["state"] = f"[{style}]{record.state}[/]"
        table.add_row(*cells.values())
    return table


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
    pipeline: str, records: Sequence[RunSummary], sentences: Sequence[str], picture: bytes
) -> str:
    """One HTML file with all of it, the latest run first.

    Args:
        pipeline: Its name.
        records: Oldest first.
        sentences: What to say above the picture.
        picture: As `history_png` draws it.
    """
    from pipeline.operations.history_plot import STATES

    rows = history_rows(records)

    def cell(tag: str, column: str, text: str, style: str = "") -> str:
        kind = "right" if column in _RIGHT else column.partition(" ")[0]
        return f'<{tag} class="{kind}"{style}>{html.escape(text)}</{tag}>'

    lines = []
    for record, row in zip(reversed(records), reversed(rows), strict=True):
        colour = {"state": f' style="color: {STATES[record.state][0]}"'}
        texts = {**row, "reason": (record.reason or "") if row["reason"] else ""}
        cells = "".join(cell("td", c, texts[c] or row[c], colour.get(c, "")) for c in row)
        lines.append(f"<tr>{cells}</tr>")
    return _PAGE.format(
        name=html.escape(pipeline),
        sentences="\n".join(f"<p>{html.escape(s)}</p>" for s in sentences),
        picture=base64.b64encode(picture).decode(),
        head="".join(cell("th", column, column) for column in rows[0]),
        rows="\n".join(lines),
    )
