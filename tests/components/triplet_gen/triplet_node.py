"""Runs TripletGen's real executor for the tests, and reads what it wrote."""

from __future__ import annotations

import itertools
from collections import Counter
from pathlib import Path

import apache_beam as beam
import tensorflow as tf
from tfx.types import standard_artifacts

from components.triplet_gen.executor import Executor
from modules.contract import ROLES
from tests.real_data import BEAM_ARGS


def make(root: Path, examples, beam_args=(), models=(), **properties):
    """Runs the executor on one artifact, or several, and returns its output."""
    output = standard_artifacts.Examples()
    output.uri = str(root)
    run(output, examples, beam_args, models, **properties)
    return output


def run(output, examples, beam_args=(), models=(), **properties) -> None:
    """Runs the executor on an output artifact, which a failed run leaves for a look."""
    context = Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(argv=[*BEAM_ARGS, *beam_args])
    )
    defaults = {"triplets_per_anchor": 1, "seed": 0, "bucket_size": 4096, "splits": '["train"]'}
    Executor(context).Do(
        {
            "examples": examples if isinstance(examples, list) else [examples],
            "model": list(models),
        },
        {"triplets": [output]},
        defaults | properties,
    )


def contents(artifact) -> dict[str, bytes]:
    """All files of an artifact by relative path, hidden ones included."""
    root = Path(artifact.uri)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def read(artifact, split="train") -> list[dict[str, tuple[bytes, bytes, bytes]]]:
    """All triplets of a split, each a (image, label, id) by role."""
    files = sorted(Path(artifact.uri, f"Split-{split}").iterdir())
    triplets = []
    batches = tf.data.TFRecordDataset([str(f) for f in files]).batch(1024).as_numpy_iterator()
    for record in itertools.chain.from_iterable(batches):
        features = tf.train.Example.FromString(record).features.feature
        assert len(features) == 9
        triplets.append(
            {
                role: tuple(
                    features[f"{role}/{name}"].bytes_list.value[0]
                    for name in ("image", "label", "id")
                )
                for role in ROLES
            }
        )
    return triplets


def check(triplets, rows, triplets_per_anchor) -> None:
    """The guarantees: roles, content, and how often each example is an anchor."""
    known = set(rows)
    sizes = Counter(label for _, label, _ in rows)
    for triplet in triplets:
        assert known.issuperset(triplet.values())
        (_, label, anchor), (_, same, positive), (_, other, _) = (triplet[role] for role in ROLES)
        assert same == label != other
        assert positive != anchor
    anchors = Counter(triplet["anchor"][2] for triplet in triplets)
    assert anchors == {i: triplets_per_anchor for _, label, i in rows if sizes[label] > 1}
