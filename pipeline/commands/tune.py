"""`python -m pipeline tune`: try other settings, and write down the best."""

from __future__ import annotations

import contextlib
import json
import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import config_option
from pipeline.config import config_path, load_config
from pipeline.runtime import ConfigError, quiet_imports

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.operations import Candidate, Tuned


@click.command("tune")
@config_option
@click.option("--minutes", type=float, required=True, help="Of all trials together.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="TOML file to write; default: NAME-tuned.toml in this folder.",
)
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def tune_command(
    config_name: str | None, minutes: float, output: Path | None, overwrite: bool, as_json: bool
) -> None:
    """Try other settings for some minutes and write a configuration with the best.

    Network, image size (if it is not given), dropout, learning rate, loss, mining, margin and the
    strength of augmentation: many short trials, then the best of them longer. They are scored on
    the validation part of the train split; the eval split is never looked at. The minutes begin
    when the data is ready, and the number of trials depends on the machine. Ctrl-C ends the search
    and keeps what was found.
    """
    path = config_path(config_name)
    config = load_config(str(path))
    output = output or Path(f"{path.stem}-tuned.toml")
    _check_output(output, path, overwrite)
    with quiet_imports():
        from pipeline.operations import check_minutes, describe, tune, write_tuned

        check_minutes(minutes)

    def show(candidate: Candidate) -> None:
        trial = candidate.trial
        scores = (
            f"P@1 {trial.precision_at_1:.4f}  MAP@R {trial.map_at_r:.4f}"
            if trial.error is None
            else f"failed: {trial.error}"
        )
        keys = ", ".join(describe(candidate.changes)) or "as configured"
        click.echo(
            f"trial {trial.number:3}  round {trial.round + 1}  {trial.seconds:5.1f} s  {scores}  "
            f"{keys}",
            err=as_json,
        )

    # With --json nothing but JSON goes to stdout.
    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        tuned = tune(path, minutes, show)
    name = config_name or config.pipeline.name
    command = f"python -m pipeline tune --config {shlex.quote(name)} --minutes {minutes:g}"
    write_tuned(tuned, output, command, minutes)
    if as_json:
        click.echo(json.dumps(as_values(tuned, output), indent=2))
        return
    from pipeline.runtime import Terminal

    console = Terminal(highlight=False, soft_wrap=True)
    console.print(trial_table(tuned))
    for failed in tuned.failed:
        console.print(f"Trial {failed.trial.number} failed: {failed.trial.error}", markup=False)
    console.print(f"Written: {output}. Train with it: python -m pipeline run --config {output}")


def trial_table(tuned: Tuned) -> Table:
    """One row for each candidate, best first."""
    from rich.table import Table

    from pipeline.operations import describe

    table = Table(
        title="Trials, best first" + (" (ended early)" if tuned.interrupted else ""),
        title_justify="left",
        caption="Scores of the validation part, which was selected on: they are optimistic. Trials "
        "of a later round trained longer and come first.",
        caption_justify="left",
    )
    for column in ("trial", "round", "P@1", "MAP@R", "seconds"):
        table.add_column(column, justify="right")
    table.add_column("changed")
    for candidate in tuned.candidates:
        trial = candidate.trial
        table.add_row(
            str(trial.number),
            str(trial.round + 1),
            f"{trial.precision_at_1:.4f}",
            f"{trial.map_at_r:.4f}",
            f"{trial.seconds:.1f}",
            "\n".join(describe(candidate.changes)) or "nothing: as configured",
        )
    return table


def as_values(tuned: Tuned, output: Path) -> dict[str, Any]:
    """What `--json` prints: `trials` best first, then those that failed."""

    def values(candidate: Candidate) -> dict[str, Any]:
        trial = candidate.trial
        scores = {"precision@1": trial.precision_at_1, "map@r": trial.map_at_r}
        return {
            "number": trial.number,
            "round": trial.round + 1,
            **{name: None if math.isnan(score) else score for name, score in scores.items()},
            "seconds": trial.seconds,
            "changed": candidate.changes,
            "error": trial.error,
        }

    return {
        "trials": [values(candidate) for candidate in (*tuned.candidates, *tuned.failed)],
        "seed": tuned.seed,
        "interrupted": tuned.interrupted,
        "output": str(output),
    }


def _check_output(output: Path, path: Path, overwrite: bool) -> None:
    if output.resolve() == path:
        raise ConfigError(f"{output} is the configuration itself. Give another --output.")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} exists. Give another --output, or --overwrite.")
    if not output.absolute().parent.is_dir():
        raise ConfigError(f"There is no folder {output.parent}. Make it, or give another --output.")
