"""`python -m pipeline search`: what the gallery has that looks like an image."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands.options import config_option, model_option, open_served, preview_option
from pipeline.commands.printing import name_faults, print_whole
from pipeline.runtime import TENSORFLOW_CHATTER, ConfigError, held_back
from pipeline.served import Outcome, outcome_help

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.served import Found, Neighbour, ServedVersion

_ROWS = 50  # images in a preview


@click.command("search", epilog=outcome_help(Outcome.DONE, Outcome.LEFT_OUT))
@click.argument("images", nargs=-1)
@config_option
@model_option
@click.option(
    "--sample", type=click.IntRange(min=1), metavar="N",
    help="In place of IMAGES: N images of the gallery, each left out of its own neighbours.",
)  # fmt: skip
@click.option("--k", default=5, show_default=True, type=click.IntRange(min=1), help="Neighbours.")
@preview_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def search_command(
    images: tuple[str, ...],
    config_name: str | None,
    model: str | None,
    sample: int | None,
    k: int,
    preview: Path | None,
    as_json: bool,
) -> None:
    """Find the images of the gallery that are nearest to IMAGES, files or folders.

    The newest pushed version is used, its model and its index, which belong together. Distances are
    squared L2 distances of unit vectors: 0 for the same embedding, at most 4.
    """
    from pipeline.served import find_images, search_images, search_sample, search_values

    if bool(images) == (sample is not None):
        raise ConfigError("Name images to search with, or --sample 5 to see some of the gallery.")
    paths = find_images(images)
    version, folder = open_served(config_name, model)
    if sample is not None:
        found = search_sample(version, sample, k)
    else:
        found = list(search_images(version, paths, k, keep=_ROWS))
    if preview:
        with held_back(2, TENSORFLOW_CHATTER):
            _write_preview(preview, version, found[:_ROWS], folder)
    if as_json:
        click.echo(json.dumps(search_values(version, found), indent=2))
    else:
        _print(version, found, k)
        if preview:
            _say_written(preview, len(found))
    faults = {one.image.path: one.fault for one in found if one.fault}
    name_faults(faults)
    sys.exit(Outcome.LEFT_OUT if faults else Outcome.DONE)


def _print(version: ServedVersion, found: Sequence[Found], k: int) -> None:
    if any(one.neighbours for one in found):
        print_whole(search_table(version, found, k))


def search_table(version: ServedVersion, found: Sequence[Found], k: int) -> Table:
    """One row for each neighbour; no column of labels where none has one, as in a catalogue."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.served import search_rows

    index = version.require_index().description
    kind: str = "exact" if index.kind == "flat" else index.kind
    if index.recall is not None and index.recall < 1:
        kind += f", recall {index.recall:.3f}"
    table = Table(
        title=f"{k} nearest of {index.images:,}, version {version.name}, {kind}",
        title_justify="left",
    )
    table.add_column("image", overflow="fold")
    table.add_column("", justify="right")
    labelled = any(neighbour.label is not None for one in found for neighbour in one.neighbours)
    if labelled:
        table.add_column("label", overflow="fold")
    table.add_column("distance", justify="right")
    table.add_column("id", overflow="fold")
    for one in found:
        for cells in search_rows(one):
            image, rank, label, *rest = map(escape, cells)
            table.add_row(image, rank, *([label] if labelled else []), *rest)
        table.add_section()
    return table


def _write_preview(
    path: Path, version: ServedVersion, found: Sequence[Found], folder: str | None
) -> None:
    from pipeline.served import GalleryPictures, Row, Tile, write_preview

    pictures = GalleryPictures(version, folder)
    rows = [
        Row(
            one.image.path,
            Tile(
                one.image.content or pictures.file(one.image.path),
                one.label or "query",
                "query" if one.label else "",
            ),
            [
                Tile(picture, _title(neighbour), f"{neighbour.distance:.4f}")
                for neighbour, picture in zip(
                    one.neighbours, pictures.of(one.neighbours), strict=True
                )
            ],
        )
        for one in found
        if not one.fault
    ]
    if rows:
        write_preview(path, f"Neighbours in version {version.name}", rows)


def _title(neighbour: Neighbour) -> str:
    """The label; where there is none, the name of the file."""
    return neighbour.label or neighbour.id.rpartition("/")[2]


def _say_written(preview: Path, images: int) -> None:
    if preview.exists():
        more = f" (the first {_ROWS} of {images:,} images)" if images > _ROWS else ""
        click.echo(f"Wrote {preview}{more}")
