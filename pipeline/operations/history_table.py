"""The runs as a table: cells by column, and how many of them a terminal has room for."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from modules.retrieval import OPERATING_THRESHOLD
from pipeline.metadata import CANDIDATE, RunSummary
from pipeline.operations.sentences import format_spans
from pipeline.runtime import ExitCode

RIGHT = {
    "images", "triplets", "P", "change of P", "MAP@R", "change of MAP@R", "threshold", "churn",
    "seconds",
}  # fmt: skip

_METRICS = {"P": "precision@", "MAP@R": "map@r"}
_REASON_WIDTH = 36  # of the column, where a reason has one
# Of a narrow terminal: what it always shows, and then as many of these as there is room for.
_NARROW = ("started", "state", *_METRICS)
_IF_ROOM = (
    "version",
    "span",
    "threshold",
    "index",
    "old vectors",
    "churn",
    "window",
    "blessed",
    "images",
    "seconds",
    "triplets",
)


def history_rows(runs: Sequence[RunSummary]) -> list[dict[str, str]]:
    """The cells of the table, by column."""

    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    return [
        {
            "started": run.started,
            "state": run.state,
            "span": number(run.span, ""),
            "window": format_spans(run.window),
            "images": number(run.images, ","),
            "triplets": number(run.triplets, ","),
            **{
                column: text
                for name, metric in _METRICS.items()
                for column, text in (
                    (name, number(run.metric(CANDIDATE, metric), ".4f")),
                    (f"change of {name}", " ".join(_change(run, metric))),
                )
            },
            "threshold": number(run.metric(CANDIDATE, OPERATING_THRESHOLD), ".4f"),
            "blessed": {True: "yes", False: "no", None: ""}[run.blessed],
            "version": run.version or "",
            "index": f"{run.index['images']:,} {run.index['kind']}" if run.index else "",
            "old vectors": (run.verdict or "").replace("_", "-"),
            "churn": number(run.changed_results, ".4f"),
            "seconds": f"{run.seconds:,.0f}",
            "reason": _short(run),
        }
        for run in runs
    ]


def _change(run: RunSummary, metric: str) -> list[str]:
    """The change from the last blessed model, and its interval; nothing without that model."""
    change, interval = run.change(metric), run.interval(metric)
    found = [] if change is None else [f"{change:+.4f}"]
    return found if interval is None else [*found, f"[{interval[0]:+.4f}, {interval[1]:+.4f}]"]


def _short(run: RunSummary) -> str:
    """The first line of the reason, where there is something to explain."""
    if run.state.meaning.is_unfinished:
        return f"at {run.node}"
    if not run.reason or (run.state.meaning.exit_code is ExitCode.OK and run.blessed):
        return ""
    first, _, more = run.reason.partition("\n")
    return f"{first} …" if more else first


def describe_changes(runs: Sequence[RunSummary]) -> str | None:
    """Says what the changes are; None if there are none."""
    if all(run.change(metric) is None for run in runs for metric in _METRICS.values()):
        return None
    levels = sorted({run.interval_level for run in runs if run.interval_level is not None})
    shown = " or ".join(f"{100 * level:.4g}%" for level in levels)
    return "Changes are from the last blessed model on the same images" + (
        f", with their {shown} interval." if shown else "."
    )


def print_runs(console: Console, pipeline: str, runs: Sequence[RunSummary]) -> None:
    """Prints all there is of each run, or what a narrow terminal has room for.

    A pipe has no width: programs such as grep get whole lines.
    """
    whole = _whole_table(pipeline, runs)
    needed = Console(width=10_000).measure(whole).minimum
    if console.is_terminal and console.width < needed:
        for part in _narrow(pipeline, runs, console.width):
            console.print(part)
        return
    console.width = max(console.width, needed)
    console.print(whole)


def _whole_table(pipeline: str, runs: Sequence[RunSummary]) -> Table:
    rows = history_rows(runs)
    shown = [column for column in rows[0] if any(row[column] for row in rows)]
    table = _new_table(pipeline)
    for column in shown:
        width = _REASON_WIDTH if column == "reason" else max(len(row[column]) for row in rows)
        table.add_column(
            column,
            justify="right" if column in RIGHT else "left",
            min_width=max(width, len(column)),
        )
    for run, row in zip(runs, rows, strict=True):
        cells = {column: escape(row[column]) for column in shown}
        table.add_row(*_coloured(run, cells).values())
    return table


def _narrow(pipeline: str, runs: Sequence[RunSummary], width: int) -> list[RenderableType]:
    """The table with changes below their metrics, what is left out of it, and the reasons."""
    rows = history_rows(runs)
    for run, row in zip(runs, rows, strict=True):
        row["started"] = run.started[:16]  # without seconds
        for name, metric in _METRICS.items():
            value, (change, *interval) = row[name], _change(run, metric) or [""]
            row[name] = "\n".join([f"{value} {change}".rstrip(), *interval])

    def room(column: str) -> int:
        lines = [column, *(line for row in rows for line in row[column].split("\n"))]
        return max(map(len, lines)) + 3  # with the padding and a rule

    filled = {column for column in rows[0] if any(row[column] for row in rows)}
    chosen = filled & set(_NARROW)
    left = width - 1 - sum(map(room, chosen))
    hidden = []
    for column in _IF_ROOM:
        if column not in filled:
            continue
        if room(column) <= left:
            left -= room(column)
            chosen.add(column)
        else:
            hidden.append(column)
    table = _new_table(pipeline)
    shown = [column for column in rows[0] if column in chosen]
    for column in shown:
        table.add_column(column, justify="right" if column in RIGHT else "left")
    for run, row in zip(runs, rows, strict=True):
        cells = {column: escape(row[column]) for column in shown}
        table.add_row(*_coloured(run, cells).values())
    parts: list[RenderableType] = [table]
    if hidden:
        parts.append(
            Text(f"Too narrow for {', '.join(hidden)}: a wider terminal or --html shows them.")
        )
    parts += [
        Text(f"{row['started']} {row['state']}: {row['reason']}") for row in rows if row["reason"]
    ]
    return parts


def _new_table(pipeline: str) -> Table:
    return Table(title=f"Runs of {pipeline}", title_justify="left")


def _coloured(run: RunSummary, cells: dict[str, str]) -> dict[str, str]:
    """The same cells, with the colour of the state."""
    return cells | {"state": f"[{run.state.meaning.style}]{run.state}[/]"}
