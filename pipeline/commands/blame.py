"""`python -m pipeline blame`: which span, classes and images a rejected model goes back to."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from modules.runtime import shown
from pipeline.commands.options import config_option
from pipeline.config import PROJECT, load_config
from pipeline.runtime import quiet_imports

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.operations import Blame, SpanVerdict, Trial

_METRICS = ("precision@", "map@r")


@click.command("blame")
@config_option
@click.option("--run", "run_id", help="Its id, or how it begins; default: the last judged run.")
@click.option("--work", help="Folder for the trials; default: `blame` beside the pipeline's own.")
@click.option("--keep", is_flag=True, help="Keep the trials; later calls find them in the cache.")
@click.option("--images", default=20, show_default=True, help="The most images to show.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs, with all images.")
def blame_command(
    config_name: str | None,
    run_id: str | None,
    work: str | None,
    keep: bool,
    images: int,
    as_json: bool,
) -> None:
    """Find the span, the classes and the images for which a model was rejected.

    Trains again on parts of the window, each time as the run did and with one part left out, until
    the gate passes. Then the images of the span that was left out are compared with their
    neighbours among the others. Nothing is pushed, and the pipeline is left as it is. A window of N
    spans takes about 2 · log2 N trainings, and one more to begin with.
    """
    config = load_config(config_name)
    from pipeline.operations import find_blame, rejected_run

    run = rejected_run(config, run_id)
    click.echo(
        f"The run of {run.started} was rejected: {run.reason}\nIts window: {_spans(run.window)}.",
        err=as_json,
    )

    def show(trial: Trial) -> None:
        click.echo(
            f"Trial: {_left_out(trial)}: {_result(trial)}, {trial.seconds:.0f} s", err=as_json
        )

    # With --json nothing but JSON goes to stdout.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        found = find_blame(
            config, run, work=str(PROJECT / work) if work else None, keep=keep, on_trial=show
        )
    if as_json:
        click.echo(json.dumps(as_values(found), indent=2))
        return
    from pipeline.runtime import Terminal

    with quiet_imports():
        console = Terminal(highlight=False, soft_wrap=True)
        console.print(trial_table(found.trials))
        console.print(conclusion(found), markup=False, style="bold")
        if found.verdict:
            for table in verdict_tables(found.verdict, images):
                console.print(table)
        for line in notes(found):
            console.print(line, markup=False)


def conclusion(found: Blame) -> str:
    """One sentence."""
    from pipeline.operations import Outcome

    spans = _spans(found.spans)
    match found.outcome:
        case Outcome.TRAINING:
            return f"To blame: {spans}. Without training on it the gate passes."
        case Outcome.EVALUATION:
            return (
                f"To blame: {spans}. The gate passes only if it is neither trained nor evaluated "
                "on: its eval split lets every model look worse."
            )
        case Outcome.ACCEPTED:
            return (
                "Nobody is to blame: with the whole window the gate passes now. The settings or "
                "the code have changed since; run the pipeline again."
            )
        case _:
            return (
                "No span is to blame: the model is rejected without any part of the window that "
                "was left out. Several spans that are far apart may hurt, or the window as a whole "
                "is not better than what the last blessed model has learned; look at the "
                "thresholds and at the metrics of the trials above."
            )


def notes(found: Blame) -> Iterator[str]:
    """What the tables do not say."""
    if found.verdict:
        for label, number in found.verdict.new_classes.items():
            images = "1 image has" if number == 1 else f"{number:,} images have"
            yield f"Class {shown(label)!r} is in no other span: its {images} nobody to be like."
        if not found.verdict.classes:
            yield "Its images look like their classes; the labels are not what is wrong."
    yield from found.audit
    if found.kept:
        yield f"The trials are in {found.kept}"


def trial_table(trials: list[Trial]) -> Table:
    """One row for each training."""
    from rich.table import Table

    table = Table(title="Trials", title_justify="left")
    table.add_column("left out")
    table.add_column("gate")
    names = list(dict.fromkeys(name for trial in trials for name in _main(trial)))
    for name in (*names, "seconds"):
        table.add_column(name, justify="right")
    for trial in trials:
        values = _main(trial)
        cells = [f"{values[name]:.4f}" if name in values else "" for name in names]
        gate = "passes" if trial.blessed else "failed" if trial.error else "rejects"
        table.add_row(_left_out(trial), gate, *cells, f"{trial.seconds:.0f}")
    return table


def verdict_tables(verdict: SpanVerdict, images: int) -> Iterator[Table]:
    """Classes and images, the worst first."""
    from rich.markup import escape
    from rich.table import Table

    if not verdict.classes:
        return
    table = Table(title="Classes whose images look like others", title_justify="left")
    table.add_column("class")
    for column in ("images", "look like others", "usual for the class"):
        table.add_column(column, justify="right")
    table.add_column("mostly like")
    for one in verdict.classes:
        table.add_row(
            escape(shown(one.label)),
            f"{one.images:,}",
            f"{one.strangers / one.images:.0%}",
            f"{one.usual:.0%}",
            escape(shown(one.looks_like or b"")),
        )
    yield table
    more = len(verdict.images) - images
    hidden = f", {more:,} more with --images or --json" if more > 0 else ""
    table = Table(title=f"Images, the clearest first{hidden}", title_justify="left")
    for column in ("id", "label", "label of its neighbours"):
        table.add_column(column)
    table.add_column("of them", justify="right")
    for image in verdict.images[: max(images, 0)]:
        names = (escape(shown(name)) for name in (image.id, image.label, image.neighbours))
        table.add_row(*names, f"{image.share:.0%}")
    yield table


def as_values(found: Blame) -> dict[str, Any]:
    """What `--json` prints."""
    verdict = found.verdict
    new_classes = verdict.new_classes if verdict else {}
    return {
        "run_id": found.run.run_id,
        "window": list(found.run.window),
        "outcome": found.outcome,
        "spans": list(found.spans),
        "conclusion": conclusion(found),
        "trials": [
            {**dataclasses.asdict(trial), "metrics": _main(trial)} for trial in found.trials
        ],
        "classes": [
            {
                "label": shown(one.label),
                "images": one.images,
                "strangers": one.strangers,
                "usual": one.usual,
                "looks_like": None if one.looks_like is None else shown(one.looks_like),
            }
            for one in (verdict.classes if verdict else ())
        ],
        "images": [
            {
                "id": shown(image.id),
                "label": shown(image.label),
                "neighbours": shown(image.neighbours),
                "share": image.share,
            }
            for image in (verdict.images if verdict else ())
        ],
        "new_classes": {shown(label): number for label, number in new_classes.items()},
        "audit": found.audit,
        "kept": found.kept,
    }


def _main(trial: Trial) -> dict[str, float]:
    """The first precision, and MAP@R."""
    found = (next((n for n in trial.metrics if n.startswith(prefix)), None) for prefix in _METRICS)
    return {name: trial.metrics[name] for name in found if name is not None}


def _left_out(trial: Trial) -> str:
    if not trial.without:
        return "nothing"
    also = ", nor evaluated on" if trial.not_evaluated else ""
    return f"{_spans(trial.without)}{also}"


def _result(trial: Trial) -> str:
    if trial.error:
        return trial.error
    figures = "  ".join(f"{name} {value:.4f}" for name, value in _main(trial).items())
    return f"the gate {'passes' if trial.blessed else 'rejects'}  {figures}"


def _spans(spans: tuple[int, ...]) -> str:
    from pipeline.operations import format_spans

    return f"span {spans[0]}" if len(spans) == 1 else f"spans {format_spans(spans)}"
