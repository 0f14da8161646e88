"""`python -m pipeline embed`: the vectors of many images."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from pipeline.commands.options import config_option, model_option, named
from pipeline.commands.printing import name_faults
from pipeline.runtime import ConfigError, quiet_imports
from pipeline.served import Outcome, outcome_help

_NAMED = 20  # images that were left out


@click.command("embed", epilog=outcome_help(Outcome.DONE, Outcome.LEFT_OUT))
@click.argument("source")
@config_option
@model_option
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), required=True,
    metavar="FILE.parquet|FILE.npy", help="File to write.",
)  # fmt: skip
@click.option(
    "--format", "kind", type=click.Choice(["images", "csv", "parquet", "tfrecord"]),
    help="What SOURCE is.  [default: told by its ending and its files]",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace the file, and begin anew.")
def embed_command(
    source: str,
    config_name: str | None,
    model: str | None,
    output: Path,
    kind: str | None,
    overwrite: bool,
) -> None:
    """Embed the images of SOURCE: a folder, a sheet, or TFRecords.

    Parquet gets the columns id, label and vector; NPY the vectors alone, and a sheet of ids and
    labels beside it. A run that was ended goes on where it stopped when it is called again. Beam
    does the work, with the options in `[beam]`.
    """
    from pipeline.served import cut, kind_of, newest_version

    if output.suffix not in (".parquet", ".npy"):
        raise ConfigError(f"--output {output} must end in .parquet or .npy.")
    source = source.rstrip("/") or "/"
    what = named(config_name, model)
    what.beam.check_reachable()
    version = newest_version(what.folder)
    with quiet_imports():
        parts = cut(source, kind or kind_of(source))  # type: ignore[arg-type]
        from pipeline.served import embed_source
    done = embed_source(
        parts, version, output, what.max_pixels, what.beam.arguments, overwrite=overwrite
    )
    before = f", {done.parts_before} of {len(parts)} parts by an earlier run"
    click.echo(
        f"Wrote {done.images:,} vectors of {done.dimension} components to {output}"
        f"{before if done.parts_before else ''}"
    )
    name_faults(dict(done.faults[:_NAMED]))
    if len(done.faults) > _NAMED:
        click.echo(f"error: and {len(done.faults) - _NAMED:,} more", err=True)
    sys.exit(Outcome.LEFT_OUT if done.faults else Outcome.DONE)
