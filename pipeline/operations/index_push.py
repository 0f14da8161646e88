"""Hands the index of a version to a vector database and says what came of it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.runtime import ConfigError, Terminal
from pipeline.vector_databases import HandedOver, hand_over, open_database, open_gallery

_LINE_SECONDS = 60.0  # between two lines where there is no terminal
_NAME = re.compile(r"[a-z][a-z0-9_]{0,29}")  # with two hashes and an ending below 63 characters


def push_index(
    version_folder: str, kind: str, url: str, name: str, *, keep: int, as_json: bool = False
) -> None:
    """Pushes the index of a version and prints a table, or JSON.

    Args:
        version_folder: With a SavedModel and `index/`.
        kind: One of `pipeline.vector_databases.KINDS`.
        url: Of the database.
        name: Alias under which readers find it; see `alias_of`.
        keep: How many collections that were served before are kept.
        as_json: For programs.

    Raises:
        ConfigError: The name, the URL or the version cannot be used.
        VectorDatabaseError: The database cannot take it.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} is no name for a collection: at most 30 lower-case letters, digits "
            "and _, a letter first. Give another one with --name."
        )
    with (
        open_gallery(version_folder) as gallery,
        open_database(kind, url) as database,
        _progress(gallery.description.images) as progress,
    ):
        done = hand_over(gallery, database, name, keep, progress)
    if as_json:
        click.echo(json.dumps(values(done, kind, url), indent=2))
        return
    console = Terminal(highlight=False, soft_wrap=True)
    console.print(_table(done, url))
    if done.done_before:
        click.echo("This gallery was there and served already.")


def alias_of(pipeline: str) -> str:
    """The default name: that of the pipeline, as databases like it.

    >>> alias_of("birds-2024"), alias_of("2024")
    ('birds_2024', 'p_2024')
    """
    name = pipeline.replace("-", "_")
    return name if name[0].isalpha() else f"p_{name}"


def values(done: HandedOver, kind: str, url: str) -> dict[str, Any]:
    """What was done, for programs."""
    return {
        "to": kind,
        "url": url,
        "alias": done.facts.alias,
        "collection": done.collection,
        "version": done.facts.version,
        "model": done.facts.model,
        "images": done.facts.images,
        "dimension": done.facts.dimension,
        "loaded": done.loaded,
        "done_before": done.done_before,
        "before": done.before,
        "removed": done.removed,
    }


def _table(done: HandedOver, url: str) -> Table:
    table = Table(title=f"Served by {url}", title_justify="left", show_header=False)
    table.add_column()
    table.add_column(overflow="fold")
    for what, value in (
        ("alias", done.facts.alias),
        ("collection", done.collection),
        ("version", "" if done.facts.version is None else str(done.facts.version)),
        ("model", done.facts.model[:12]),
        ("images", f"{done.facts.images:,} of {done.facts.dimension} components"),
        ("loaded now", f"{done.loaded:,}"),
        ("served before", done.before or "nothing"),
        ("removed", "\n".join(done.removed) or "nothing"),
    ):
        table.add_row(what, value)
    return table


@contextlib.contextmanager
def _progress(images: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; a line each minute in a log."""
    console = Terminal(stderr=True)
    said = time.monotonic()

    def say(done: int) -> None:
        nonlocal said
        if time.monotonic() - said >= _LINE_SECONDS:
            said = time.monotonic()
            click.echo(f"{done:,} of {images:,} images", err=True)

    if not console.is_terminal:
        yield say
        return
    columns = (TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=images)
        yield lambda done: bar.update(task, completed=done)
