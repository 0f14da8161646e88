"""`python -m pipeline cluster`: groups of images that nobody has labelled."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands.options import config_option, model_option, open_served, preview_option
from pipeline.commands.printing import name_faults, print_whole
from pipeline.runtime import TENSORFLOW_CHATTER, ConfigError, held_back
from pipeline.served import Outcome, outcome_help

if TYPE_CHECKING:
    from rich.table import Table

    from pipeline.served import Clusters, ServedVersion

_ROWS = 50  # groups in the table and in a preview
_PICTURES = 20  # of a group


@click.command("cluster", epilog=outcome_help(Outcome.DONE, Outcome.LEFT_OUT))
@click.argument("images", nargs=-1, required=True)
@config_option
@model_option
@click.option(
    "--method", type=click.Choice(["hdbscan", "agglomerative"]), default="hdbscan",
    show_default=True, help="Dense parts of any size, or joining what is nearest.",
)  # fmt: skip
@click.option(
    "--least", type=click.IntRange(min=2),
    help="hdbscan: images of the smallest group.  [default: 3]",
)  # fmt: skip
@click.option(
    "--distance", type=click.FloatRange(min=0, min_open=True),
    help="agglomerative: join groups below this mean squared distance.  [default: the calibrated "
    "threshold]",
)  # fmt: skip
@click.option(
    "--groups", type=click.IntRange(min=1), help="agglomerative: join until there are so many."
)
@preview_option
@click.option(
    "--csv", "sheet", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="Write a sheet with the group of each image.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")
def cluster_command(
    images: tuple[str, ...],
    config_name: str | None,
    model: str | None,
    method: str,
    least: int | None,
    distance: float | None,
    groups: int | None,
    preview: Path | None,
    sheet: Path | None,
    as_json: bool,
) -> None:
    """Group IMAGES, files or folders, that look alike; no labels are needed."""
    _check(method, least, distance, groups)
    from pipeline.served import (
        cluster_csv,
        cluster_values,
        embed_paths,
        find_images,
        group_vectors,
        make_clusters,
    )

    paths = find_images(images)
    version, _ = open_served(config_name, model)
    if method == "agglomerative" and distance is None and groups is None:
        distance = version.require_operating_point("give --distance or --groups").threshold
    vectors, good, faults = embed_paths(version, paths)
    options: dict[str, Any] = {"distance": distance, "number": groups, "least": least or 3}
    numbers = group_vectors(vectors, method, **options)  # type: ignore[arg-type]
    clusters = make_clusters(vectors, good, numbers, faults)
    if sheet:
        sheet.write_text(cluster_csv(clusters), encoding="utf-8", errors="surrogateescape")
    if preview and clusters.groups:
        with held_back(2, TENSORFLOW_CHATTER):
            _write_preview(preview, version, clusters)
    if as_json:
        about = {"version": version.name, "method": method}
        click.echo(json.dumps(about | cluster_values(clusters), indent=2))
    else:
        print_whole(cluster_table(version, clusters, method))
        for path in filter(None, (sheet, preview if clusters.groups else None)):
            click.echo(f"Wrote {path}")
    name_faults(faults)
    sys.exit(Outcome.LEFT_OUT if faults else Outcome.DONE)


def _check(method: str, least: int | None, distance: float | None, groups: int | None) -> None:
    """No option without an effect."""
    if method == "hdbscan" and (distance is not None or groups is not None):
        raise ConfigError("--distance and --groups are of --method agglomerative; add it.")
    if method == "agglomerative" and least is not None:
        raise ConfigError("--least is of --method hdbscan; remove it, or name that method.")
    if distance is not None and groups is not None:
        raise ConfigError("--distance and --groups exclude each other; remove one.")


def cluster_table(version: ServedVersion, clusters: Clusters, method: str) -> Table:
    """One row for each group, the largest first."""
    from rich.markup import escape
    from rich.table import Table

    from pipeline.served import cluster_rows

    images = sum(len(group.images) for group in clusters.groups) + len(clusters.alone)
    table = Table(
        title=f"{len(clusters.groups):,} groups of {images:,} images by {method}, "
        f"version {version.name}",
        title_justify="left",
    )
    table.add_column("group", justify="right")
    table.add_column("images", justify="right")
    table.add_column("spread", justify="right")
    table.add_column("in the middle", overflow="fold")
    for cells in cluster_rows(clusters, _ROWS):
        table.add_row(*map(escape, cells))
    return table


def _write_preview(path: Path, version: ServedVersion, clusters: Clusters) -> None:
    from pipeline.served import Row, Tile, read_image, write_preview

    rows = [
        Row(
            f"group {number}: {len(group.images):,} images",
            None,
            [
                Tile(read_image(image).content, image.rpartition("/")[2])
                for image in group.images[:_PICTURES]
            ],
        )
        for number, group in enumerate(clusters.groups[:_ROWS], start=1)
    ]
    write_preview(path, f"Groups by version {version.name}", rows)
