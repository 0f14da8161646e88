"""`python -m pipeline data`: write a known data set as TFRecord files."""

from __future__ import annotations

import os
from pathlib import Path

import click

from pipeline.datasets import SOURCES, check_output, load_dataset, split_by_class, write_dataset


@click.command("data")
@click.argument("source", type=click.Choice(SOURCES))
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, help="Folder to write to."
)
@click.option(
    "--source",
    "folder",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of the four IDX files (train-images-idx3-ubyte.gz, …); default: download.",
)
@click.option(
    "--eval-classes",
    help="Classes never seen in training, such as 5,6,7,8,9; default: splits as published.",
)
@click.option("--overwrite", is_flag=True, help="Replace the data set that is in --output.")
def data_command(
    source: str, output: Path, folder: Path | None, eval_classes: str | None, overwrite: bool
) -> None:
    r"""Write a data set as TFRecords of labelled images, with a train and an eval split.

    \b
    mnist-sample   5,000 real digits that are installed already (4,000 / 1,000)
    mnist          60,000 / 10,000 digits
    fashion-mnist  60,000 / 10,000 articles of clothing
    idx            any four IDX files in --source; labels are their integers

    Every image is kept as published, 8-bit grayscale, encoded as PNG.
    """
    from rich.progress import Progress
    from rich.table import Table

    from pipeline.runtime import Terminal

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # nothing but the table and errors
    console = Terminal()
    try:
        check_output(output, overwrite)  # before any work is done
        splits = load_dataset(source, folder)
        if eval_classes is not None:
            splits = split_by_class(splits, [name.strip() for name in eval_classes.split(",")])
        with Progress(console=console, disable=not console.is_terminal) as progress:
            total = sum(len(split.ids) for split in splits.values())
            task = progress.add_task(f"Writing {total:,} images", total=total)
            summaries = write_dataset(
                output,
                {name: split.encoded() for name, split in splits.items()},
                overwrite=overwrite,
                on_image=lambda: progress.advance(task),
            )
    except (OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error

    table = Table("split", "images", "classes", "files", "bytes", title=f"{source} → {output}")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, summary in summaries.items():
        counts = (summary.images, summary.classes, summary.files, summary.size)
        table.add_row(name, *(f"{count:,}" for count in counts))
    console.print(table)
