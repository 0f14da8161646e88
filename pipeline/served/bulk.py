"""Embeds many images in Beam, part by part, and goes on where a killed run has stopped.

Each part becomes a file beside the output, by one rename. So a run finds what an earlier one has
finished, and in the end the parts become the output, in their order. What comes out does not depend
on where the runs stopped, nor on the runner: batches are filled, see `embed_images`.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.options.pipeline_options import PipelineOptions

from modules.index import model_fingerprint
from modules.models import SharedEmbedder
from pipeline.runtime import ConfigError, PipelineError
from pipeline.served.embedding import embed_images
from pipeline.served.sources import PART, Item, Part, read_part, source_fingerprint

_FAULTS = b"left_out"
_JOB = "job.json"


class Written(NamedTuple):
    """What came of a run.

    Attributes:
        images: Vectors in the output.
        dimension: Of a vector.
        faults: Id and reason of each image that was left out.
        parts_before: Parts that an earlier run had finished.
    """

    images: int
    dimension: int
    faults: list[tuple[str, str]]
    parts_before: int


def embed_source(
    parts: Sequence[Part],
    version: str,
    output: Path,
    max_pixels: int,
    beam_args: Sequence[str],
    *,
    overwrite: bool = False,
) -> Written:
    """Embeds the images of a source and writes the output.

    Args:
        parts: Of the source, as `cut` makes them.
        version: Folder of the model.
        output: A Parquet file with `id`, `label` and `vector`; or `.npy`, float32 [N, D], with a
            sheet of ids and labels beside it.
        max_pixels: Largest width × height of an image.
        beam_args: Options of Beam.
        overwrite: Replace the output and forget what an unfinished run has left.

    Raises:
        ConfigError: The output is there, or parts of another source or model are.
        PipelineError: No image could be embedded.
    """
    folder = output.with_name(f"{output.name}.parts")
    if output.exists() and not overwrite:
        raise ConfigError(f"{output} is there already. Give another --output, or --overwrite.")
    job = {"model": model_fingerprint(version), "source": source_fingerprint(parts)}
    _begin(folder, job, version, overwrite)
    missing = [part for part in parts if not _part_file(folder, part.number).exists()]
    if missing:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | "Parts" >> beam.Create(missing)
                | "Spread" >> beam.Reshuffle()
                | "Embed" >> beam.ParDo(_EmbedPart(version, str(folder), max_pixels))
            )
    files = [_part_file(folder, part.number) for part in parts]
    written = _assemble(files, output, job["model"], len(parts) - len(missing))
    shutil.rmtree(folder)
    return written


def _begin(folder: Path, job: dict[str, str], version: str, overwrite: bool) -> None:
    """Makes the folder of the parts, or finds that of the same job."""
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _JOB
    if not path.exists():
        _write(path, json.dumps({**job, "version": version}, indent=2).encode())
    found = json.loads(path.read_bytes())
    if found["model"] != job["model"]:
        raise ConfigError(
            f"{folder} holds parts by another model, of {found['version']}. Go on with it by "
            f"--model {found['version']}, or begin anew by --overwrite."
        )
    if found["source"] != job["source"]:
        raise ConfigError(
            f"{folder} holds parts of other images, or some have changed since. Give another "
            "--output, or begin anew by --overwrite."
        )


class _EmbedPart(beam.DoFn):
    """Writes the file of a part."""

    def __init__(self, version: str, folder: str, max_pixels: int) -> None:
        self._folder, self._max_pixels = folder, max_pixels
        self._model = SharedEmbedder(version)

    def process(self, part: Part) -> None:
        """Reads, embeds and writes; an image that cannot be used is noted in the file."""
        embedder = self._model.acquire()
        ids: list[str] = []
        labels: list[str | None] = []
        vectors: list[np.ndarray] = []
        faults: list[tuple[str, str]] = []
        for items in _batches(read_part(part, self._max_pixels)):
            faults += [(item.id, item.fault) for item in items if item.fault]
            good = [item for item in items if not item.fault]
            images = [item.image for item in good]
            embedded = embed_images(embedder, images, self._max_pixels, filled=True)
            faults += [(good[row].id, why) for row, why in embedded.faults.items()]
            ids += [good[row].id for row in embedded.rows]
            labels += [good[row].label for row in embedded.rows]
            vectors += [embedded.vectors] if len(embedded.rows) else []
        matrix = np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)
        table = pa.table(
            {"id": pa.array(ids, pa.string()), "label": pa.array(labels, pa.string()),
             "vector": _column(matrix)},
            metadata={_FAULTS: json.dumps(faults)},
        )  # fmt: skip
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, use_dictionary=["label"])
        _write(_part_file(Path(self._folder), part.number), sink.getvalue())


def _batches(items: Iterator[Item], size: int = 512) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _column(matrix: np.ndarray) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(matrix).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, max(1, matrix.shape[1]))


def _part_file(folder: Path, number: int) -> Path:
    return folder / f"part-{number:06}.parquet"


def _write(path: Path, content: bytes | pa.Buffer) -> None:
    """Shows a file when it is whole; several may write the same."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.{id(content)}.tmp")
    unfinished.write_bytes(content)
    unfinished.replace(path)


def _assemble(files: Sequence[Path], output: Path, model: str, before: int) -> Written:
    """Makes the output of the parts, one of them in memory at a time."""
    opened = [pq.ParquetFile(file) for file in files]
    rows = [file.metadata.num_rows for file in opened]
    faults = [
        (name, why)
        for file in opened
        for name, why in json.loads(file.schema_arrow.metadata[_FAULTS])
    ]
    filled = [file for file, count in zip(opened, rows, strict=True) if count]
    if not filled:
        name, why = faults[0]
        raise PipelineError(
            f"None of {len(faults):,} images could be embedded; the first, {name}: {why}."
        )
    dimension = filled[0].schema_arrow.field("vector").type.list_size
    unfinished = output.with_name(f".{output.name}.tmp")
    if output.suffix == ".npy":
        _write_npy(filled, unfinished, output, sum(rows), dimension)
    else:
        schema = filled[0].schema_arrow.with_metadata({"model": model})
        with pq.ParquetWriter(unfinished, schema, use_dictionary=["label"]) as writer:
            for file in filled:
                writer.write_table(file.read().replace_schema_metadata({"model": model}), PART)
    unfinished.replace(output)
    return Written(sum(rows), dimension, faults, before)


def _write_npy(
    parts: Sequence[pq.ParquetFile], unfinished: Path, output: Path, total: int, dimension: int
) -> None:
    """The matrix as `numpy.load` takes it, and the sheet of ids beside it."""
    from numpy.lib.format import open_memmap
    from pyarrow import csv

    matrix = open_memmap(unfinished, "w+", np.float32, (total, dimension))
    names, first = [], 0
    for part in parts:
        table = part.read()
        values = table["vector"].combine_chunks().values.to_numpy()
        matrix[first : first + len(table)] = values.reshape(-1, dimension)
        names.append(table.select(["id", "label"]))
        first += len(table)
    matrix.flush()
    csv.write_csv(pa.concat_tables(names), output.with_suffix(".csv"))
