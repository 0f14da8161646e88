"""Runs TripletGen's real executor for the tests, and reads what it wrote."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import apache_beam as beam
import tensorflow as tf
from tfx.types import standard_artifacts

from components.triplet_gen.executor import Executor
from modules.contract import ROLES
from tests.real_data import BEAM_ARGS, Row

_FEATURES = {"image", "label", "id", "positives", "negatives", "copy"}


def make(root: Path, examples, beam_args=(), models=(), audits=(), **properties):
    """Runs the executor on one artifact, or several, and returns its output."""
    output = standard_artifacts.Examples()
    output.uri = str(root)
    run(output, examples, beam_args, models, audits, **properties)
    return output


def run(output, examples, beam_args=(), models=(), audits=(), **properties) -> None:
    """Runs the executor on an output artifact, which a failed run leaves for a look."""
    context = Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(argv=[*BEAM_ARGS, *beam_args])
    )
    defaults = {"triplets_per_anchor": 1, "train_split": "train", "eval_split": "eval"}
    Executor(context).Do(
        {
            "examples": examples if isinstance(examples, list) else [examples],
            "model": list(models),
            "audit": list(audits),
        },
        {"triplets": [output]},
        defaults | properties,
    )


def contents(artifact) -> dict[str, bytes]:
    """All files of an artifact by relative path, hidden ones included."""
    root = Path(artifact.uri)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


class Record(NamedTuple):
    """A record as it is in a file."""

    row: Row
    positives: list[int]
    negatives: list[int]
    copy: int


def read_files(artifact, part: str = "train") -> list[list[Record]]:
    """The records of each file of a part."""
    files = [str(f) for f in sorted(Path(artifact.uri, f"Split-{part}").iterdir())]
    # One batch per file: a dataset for each takes far longer to set up than to read.
    batches = tf.data.Dataset.from_tensor_slices(files).flat_map(
        lambda file: tf.data.TFRecordDataset(file).batch(1 << 20)
    )
    return [list(map(_parse, batch)) for batch in batches.as_numpy_iterator()]


def _parse(serialized: bytes) -> Record:
    features = tf.train.Example.FromString(serialized).features.feature
    assert set(features) == _FEATURES
    (image,), (label,), (example_id,) = (
        features[name].bytes_list.value for name in ("image", "label", "id")
    )
    positives, negatives, (copy,) = (
        list(features[name].int64_list.value) for name in ("positives", "negatives", "copy")
    )
    return Record((image, label, example_id), positives, negatives, copy)


def images(artifact, part: str = "train") -> list[Row]:
    """The images that have their place in a part."""
    return _images(read_files(artifact, part))


def _images(files: list[list[Record]]) -> list[Row]:
    return [record.row for records in files for record in records if not record.copy]


def read(artifact) -> list[dict[str, Row]]:
    """All triplets, each a (image, label, id) by role."""
    return _triplets(read_files(artifact))


def _triplets(files: list[list[Record]]) -> list[dict[str, Row]]:
    return [
        dict(zip(ROLES, (record.row, records[p].row, records[n].row), strict=True))
        for records in files
        for record in records
        for p, n in zip(record.positives, record.negatives, strict=True)
    ]


def check(artifact, rows: list[Row], triplets_per_anchor: int | None = None) -> list[Row]:
    """The guarantees: who is where, roles, and how often each image is an anchor.

    Args:
        artifact: The output.
        rows: All images of the train split.
        triplets_per_anchor: Of every image with a second one of its class; None: of any.

    Returns:
        The images of the train part.
    """
    files, held_files = read_files(artifact), read_files(artifact, "validation")
    train, held, triplets = _images(files), _images(held_files), _triplets(files)
    assert sorted(train + held) == sorted(rows)
    sizes = Counter(label for _, label, _ in held)
    assert sizes
    assert min(sizes.values()) >= 2

    for records in held_files:
        assert not any(r.positives or r.negatives or r.copy for r in records)
    known = set(train)
    for records in files:
        assert known.issuperset(record.row for record in records)
        ids = {record.row[2] for record in records}
        assert len(ids) == len(records)
        used = {number for record in records for number in record.negatives}
        for number, record in enumerate(records):
            assert len(record.positives) == len(record.negatives)
            assert all(not records[p].copy for p in record.positives)
            assert not record.copy or (not record.positives and number in used)
    for triplet in triplets:
        (_, label, anchor), (_, same, positive), (_, other, _) = (triplet[role] for role in ROLES)
        assert same == label != other
        assert positive != anchor
    if triplets_per_anchor is not None:
        sizes = Counter(label for _, label, _ in train)
        anchors = Counter(triplet["anchor"][2] for triplet in triplets)
        assert anchors == {i: triplets_per_anchor for _, label, i in train if sizes[label] > 1}
    return train
