"""The group of all commands, each loaded when it is called."""

from __future__ import annotations

import importlib
from typing import NamedTuple

import click

from pipeline.runtime import set_verbose


class Place(NamedTuple):
    """Where a command is, and the first sentence of its help."""

    module: str
    name: str
    help: str


COMMANDS = {
    "audit": Place(
        "pipeline.commands.audit",
        "audit_command",
        "Show what is wrong with the data of the latest run: copies, leaks, likely wrong labels.",
    ),
    "blame": Place(
        "pipeline.commands.blame",
        "blame_command",
        "Find the span, the classes and the images for which a model was rejected.",
    ),
    "cluster": Place(
        "pipeline.commands.cluster",
        "cluster_command",
        "Group IMAGES, files or folders, that look alike; no labels are needed.",
    ),
    "data": Place(
        "pipeline.commands.data",
        "data_command",
        "Write a data set as TFRecords of labelled images, with a train and an eval split.",
    ),
    "embed": Place(
        "pipeline.commands.embed",
        "embed_command",
        "Embed the images of SOURCE: a folder, a sheet, or TFRecords.",
    ),
    "gc": Place(
        "pipeline.commands.gc",
        "gc_command",
        "Remove artifacts of old runs that nothing needs any more, and what killed runs have left.",
    ),
    "history": Place(
        "pipeline.commands.history",
        "history_command",
        "Show the runs over time: spans, metrics, blessings, pushes.",
    ),
    "index": Place(
        "pipeline.commands.index",
        "index_command",
        "Hand the index of a pushed version to a vector database.",
    ),
    "reference-scores": Place(
        "pipeline.commands.reference_scores",
        "reference_scores_command",
        "Compare the latest model with an untrained network and with raw pixels.",
    ),
    "retrain": Place(
        "pipeline.commands.retrain",
        "retrain_command",
        "Run the pipeline for each span that waits, or once; for systemd and cron.",
    ),
    "rollback": Place(
        "pipeline.commands.rollback",
        "rollback_command",
        "Serve the previous blessed model again, as a new version.",
    ),
    "run": Place(
        "pipeline.commands.run",
        "run_command",
        "Run the pipeline on this machine and print the summary.",
    ),
    "schedule": Place(
        "pipeline.commands.schedule",
        "schedule_command",
        "Print or install a systemd user timer, or a cron entry, that runs `retrain`.",
    ),
    "search": Place(
        "pipeline.commands.search",
        "search_command",
        "Find the images of the gallery that are nearest to IMAGES, files or folders.",
    ),
    "serve": Place(
        "pipeline.commands.serve",
        "serve_command",
        "Answer searches by HTTP, with a page to try it, until it is ended.",
    ),
    "summary": Place(
        "pipeline.commands.summary",
        "summary_command",
        "Show the latest run: nodes, metrics, blessing, where the model went.",
    ),
    "tune": Place(
        "pipeline.commands.tune",
        "tune_command",
        "Try other settings for some minutes and write a configuration with the best.",
    ),
    "verify": Place(
        "pipeline.commands.verify",
        "verify_command",
        "Tell whether two images show the same, at the threshold calibrated with the model.",
    ),
}


def _verbose(_: click.Context, __: click.Parameter, given: bool) -> None:
    if given:
        set_verbose()


VERBOSE = click.Option(
    ["--verbose"],
    is_flag=True,
    expose_value=False,
    callback=_verbose,
    help="Show the traceback of an error.",
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are called, not to list them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, sorted."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command; None if there is none of this name."""
        place = COMMANDS.get(cmd_name)
        if place is None:
            return None
        command: click.Command = getattr(importlib.import_module(place.module), place.name)
        if VERBOSE not in command.params:
            command.params.append(VERBOSE)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lists the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name].help) for name in sorted(COMMANDS)])


@click.group(
    cls=LazyGroup,
    params=[VERBOSE],
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Deep metric learning with triplet loss: labelled images in, a gated embedding model out."""
