"""The latest run as tables, or as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from components.metadata import Values
from modules.retrieval import (
    COUNTS,
    INTERVAL_LEVEL,
    NEVER,
    OPERATING_FAR,
    OPERATING_FRR,
    OPERATING_SLICE_NAMES,
)
from modules.runtime import shown
from modules.settings import Settings
from pipeline.config import Config
from pipeline.metadata import (
    Evaluation,
    Run,
    RunState,
    RunSummary,
    data_rejections,
    model_rejections,
    read_latest,
)
from pipeline.operations.comparison import comparison_table, describe_comparison
from pipeline.operations.sentences import (
    describe_operating_point,
    describe_rejections,
    describe_run,
)
from pipeline.runtime import Terminal

_COLOURS = {"run": "green", "cached": "cyan", "failed": "bold red", "killed": "magenta"}
# What a node keeps on its artifact and that is worth a look.
_NOTED = (
    "images",
    "undecodable",
    "ignored_files",
    "converted",
    "similar_classes",
    "dropped",
    "relabelled",
    "unknown_corrections",
    "copies",
    "leaked",
    "conflicting",
    "near_duplicates",
    "near_leaked",
    "blank",
    "alone",
    "suspects",
    "new_classes",
    "vanished_classes",
    "strategy",
    "sampled_by",
    "bucketed_by",
    "triplets",
    "anchors",
    "anchors_without_positive",
    "anchors_with_hard_negative",
    "hard_negatives",
    "left_out_negatives",
    "mean_d_ap",
    "mean_d_an",
    "classes",
    "train_class_sizes",
    "validation_images",
    "validation_classes",
    "validation_by",
    "why",
    "instead",
    "pictures",
    "fault",
)
# Of these 0 says something: mining has found none. Where nothing was mined they are absent.
_EVEN_ZERO = ("anchors_with_hard_negative", "hard_negatives")
_LABELS = {"mean_d_ap": "mean d_ap", "mean_d_an": "mean d_an"}
_IMAGE = ("image_height", "image_width", "image_channels")  # of Transform
_INDEX = ("added", "kept", "removed", "kind", "storage", "recall", "recall_k", "bytes")  # IndexGen
_OF_RATES = (OPERATING_FAR, OPERATING_FRR)
_PAIRS = tuple(name for name in OPERATING_SLICE_NAMES if name not in _OF_RATES)
_COUNTS = (*COUNTS, *NEVER, "gallery_size", *_PAIRS)
_SLICE_METRICS = ("precision@1", "r_precision", "map@r", *_OF_RATES)
SLICES = 10
_LONGEST = 2000  # characters of a text from the data


def show_latest(config: Config, *, as_json: bool = False, slices: int = SLICES) -> None:
    """Prints the latest run of a pipeline; see `show`.

    Raises:
        NotRunError: It has not run yet.
    """
    run, runs = read_latest(config)
    show(run, runs, config.retraining.alert_after, as_json=as_json, slices=slices)


def show(
    run: Run,
    runs: Sequence[RunSummary],
    alert_after: int,
    *,
    as_json: bool = False,
    slices: int = SLICES,
) -> None:
    """Prints a run.

    Args:
        run: As `pipeline.metadata.latest_run` returns it.
        runs: All runs, oldest first; the last is this one.
        alert_after: So many rejected models in a row are an alarm.
        as_json: All of it as one JSON object; `nodes`, `choices`, `evaluation`, …; `run` as in
            `history --json`, and how often models and data were rejected in a row.
        slices: The most slices in the table of slices.
    """
    if as_json:
        values = {
            **dataclasses.asdict(run),
            "run": dataclasses.asdict(runs[-1]),
            "rejections": dataclasses.asdict(model_rejections(runs)),
            "data_rejections": dataclasses.asdict(data_rejections(runs)),
        }
        click.echo(json.dumps(_without_nan(values), indent=2, allow_nan=False))
        return
    console = Terminal(highlight=False, soft_wrap=True)
    console.print(_node_table(run))
    if run.choices:
        console.print(_choice_table(run.choices))
    for step in run.resumed_at:
        console.print(f"The training was killed, and went on from step {step}.", markup=False)
    for line in run.advice:
        console.print(f"Advice: {line}", markup=False, style="yellow")
    if run.evaluation:
        console.print(_metric_table(run.evaluation))
        if slices > 0 and len(run.evaluation.metrics["candidate"]) > 1:
            console.print(_slice_table(run.evaluation, slices))
        for line in describe_operating_point(run.evaluation):
            console.print(line, markup=False)
        if run.evaluation.compatibility:
            console.print(comparison_table(run.evaluation.compatibility))
        for line in describe_comparison(run.evaluation):
            console.print(line, markup=False)
        _print_blessing(console, run.evaluation, runs[-1].reason)
    for problem in run.problems:
        console.print(problem, markup=False, style="bold yellow")
    if run.tflite:
        console.print(_tflite_table(run.tflite))
    if run.training_logs:
        console.print(f"Training curves: tensorboard --logdir {run.training_logs}", markup=False)
    if run.report:
        console.print(f"Report: {run.report}", markup=False)
    if run.pushed_to:
        console.print(f"Pushed to {run.pushed_to}", markup=False)
    if not run.pushed_to or runs[-1].state is RunState.SKIPPED:
        style = "bold red" if run.failed else None
        for line in describe_run(runs[-1], runs):
            console.print(line, markup=False, style=style)
    for line in describe_rejections(runs, alert_after):
        console.print(line, markup=False, style="bold yellow")


def _without_nan(value: Any) -> Any:
    """NaN as None, since JSON has no NaN; such as the scores of a class with one image."""
    if isinstance(value, Settings):
        return _without_nan(value.model_dump(mode="json"))
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _node_table(run: Run) -> Table:
    table = Table(title=f"{run.pipeline}, run of {run.run_id[:19]}", title_justify="left")
    table.add_column("node")
    table.add_column("state")
    table.add_column("seconds", justify="right")
    table.add_column("")
    for node in run.nodes:
        # What a resolver hands on stands beside the node that made it.
        made = {} if node.node.endswith("Resolver") else node.outputs
        kept = {key: value for output in made.values() for key, value in output.items()}
        notes = [_image_note(kept)] if all(key in kept for key in _IMAGE) else []
        if all(key in kept for key in _INDEX):
            notes.append(_index_note(kept))
        # In this order: the metadata database has none.
        shown = [key for key in _NOTED if kept.get(key) or (key in _EVEN_ZERO and key in kept)]
        notes += [_note(key, kept[key]) for key in shown]
        table.add_row(
            node.node,
            f"[{_COLOURS.get(node.state, 'yellow')}]{node.state}[/]",
            f"{node.seconds:.1f}",
            ", ".join(notes),
        )
    total = sum(node.seconds for node in run.nodes)
    table.add_section()
    table.add_row("", "", f"{total:.1f}", "")
    return table


def _note(key: str, value: int | float | str) -> str:
    if key == "train_class_sizes":  # number of classes by size
        sizes = ", ".join(f"{size}: {n:,}" for size, n in json.loads(str(value)).items())
        return f"train classes by size {{{sizes}}}"
    if isinstance(value, str):
        text = _escaped(value)
    else:
        text = f"{value:.4f}" if isinstance(value, float) else f"{value:,}"
    return f"{_LABELS.get(key, key.replace('_', ' '))} {text}"


def _image_note(kept: Values) -> str:
    """The size that Transform gives to the images, and whose choice it was."""
    height, width, channels = (kept[key] for key in _IMAGE)
    noun = "channel" if channels == 1 else "channels"
    chosen = str(kept.get("image_chosen", "")).split(",")
    by = "as given"
    if chosen != [""]:
        what = "" if len(chosen) == len(_IMAGE) else f"{' and '.join(chosen)} "
        by = f"{what}chosen from the data"
    fit = f", fit {kept['image_fit']}" if "image_fit" in kept else ""
    return f"images {height:,} high, {width:,} wide, {channels} {noun} ({by}){fit}"


def _index_note(kept: Values) -> str:
    """What the index is, how well it finds, and what changed in its gallery."""
    added, old, removed, kind, storage, recall, k, size = (kept[key] for key in _INDEX)
    return (
        f"{kind} index of {storage}, recall@{k} {recall:.4f}, {decimal(int(size))}, "
        f"{added:,} added, {old:,} kept, {removed:,} removed"
    )


def _choice_table(choices: dict[str, Any]) -> Table:
    """What the Trainer chose, by name, and why."""
    table = Table(title="Chosen by the Trainer", title_justify="left")
    table.add_column("name")
    table.add_column("value", justify="right")
    table.add_column("why", overflow="fold")
    for name, choice in choices.items():
        value = choice["value"]
        text = f"{value:,}" if type(value) in (int, float) else value or "-"
        table.add_row(escape(name), escape(text), escape(choice["why"]))
    return table


def _metric_table(evaluation: Evaluation) -> Table:
    """The overall slice; candidate and baseline side by side."""
    table = Table(title="Retrieval on the eval split", title_justify="left")
    table.add_column("metric")
    models = [name for name in ("candidate", "baseline", "change") if name in evaluation.metrics]
    level = evaluation.metrics.get("change", {}).get("overall", {}).get(INTERVAL_LEVEL)
    for model in models:
        level_of = f" [{100 * level:.4g}% interval]" if model == "change" and level else ""
        table.add_column(escape(model + level_of), justify="right")
    overall = evaluation.metrics["candidate"]["overall"]
    for metric, value in overall.items():
        # Differs from precision@k only where a class has fewer than k + 1 images.
        if value == overall.get(metric.replace("_capped", "")) and "_capped" in metric:
            continue
        table.add_row(metric, *(_cell(evaluation, model, metric) for model in models))
    return table


def _cell(evaluation: Evaluation, model: str, metric: str) -> str:
    """A metric of the overall slice, with its confidence interval if it has one."""
    value = evaluation.metrics[model]["overall"].get(metric)
    if value is None:
        return ""
    interval = evaluation.intervals.get(model, {}).get("overall", {}).get(metric)
    if interval is None or metric in _COUNTS:
        return _number(metric, value)
    return escape(f"{value:.4f} [{interval[0]:.4f}, {interval[1]:.4f}]")


def _slice_table(evaluation: Evaluation, limit: int) -> Table:
    """The slices with the lowest MAP@R first; those without any scored query come last."""
    of_candidate = evaluation.metrics["candidate"]
    changes = evaluation.metrics.get("change", {})
    names = sorted(
        (name for name in of_candidate if name != "overall"),
        key=lambda name: (math.isnan(of_candidate[name]["map@r"]), of_candidate[name]["map@r"]),
    )
    hidden = f", {len(names) - limit:,} more with --slices" if len(names) > limit else ""
    table = Table(title=f"Slices, worst first{hidden}", title_justify="left")
    table.add_column("slice")
    columns = ["queries", *(m for m in of_candidate["overall"] if m in _SLICE_METRICS)]
    for metric in columns:
        table.add_column(metric, justify="right")
    if changes:
        table.add_column("change of map@r", justify="right")
    for name in names[:limit]:
        metrics = of_candidate[name]
        row = [_number(metric, metrics[metric]) for metric in columns]
        if changes:
            row.append(_number("map@r", changes[name]["map@r"]) if name in changes else "")
        table.add_row(_escaped(name), *row)
    return table


def _escaped(text: str) -> str:
    """A text from the data: neither markup of rich nor signs that steer a terminal."""
    return escape(shown(text, _LONGEST))


def _tflite_table(report: dict[str, Any]) -> Table:
    """The models for devices, from the `TFLiteReport`."""
    compared = f"similarity on {report['compared_images']:,} images"
    table = Table(title=f"TFLite models, {compared}", title_justify="left")
    table.add_column("file")
    for name in ("kB", "ms per image", "mean similarity", "least"):
        table.add_column(name, justify="right")
    for model in report["models"].values():
        table.add_row(
            model["file"],
            f"{model['bytes'] / 1000:,.0f}",
            f"{model['latency_ms']:.2f}",
            f"{model['mean_similarity']:.5f}",
            f"{model['min_similarity']:.5f}",
        )
    return table


def _number(metric: str, value: float) -> str:
    return f"{value:,.0f}" if metric in _COUNTS else f"{value:.4f}"


def _print_blessing(console: Console, evaluation: Evaluation, reason: str | None) -> None:
    if evaluation.blessed:
        console.print("[green]BLESSED[/]: every threshold is met.")
        for note in (reason or "").splitlines()[1:]:  # what was passed without being told
            console.print(f"  {note}", markup=False)
        return
    console.print("[bold red]NOT BLESSED[/]")
    # Without unmet thresholds there were none, or the blessing was revoked.
    for line in evaluation.failures or filter(None, [reason]):
        console.print(f"  {line}", markup=False)
