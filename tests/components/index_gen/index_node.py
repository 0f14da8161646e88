"""Runs IndexGen's real executor for the tests, and reads what it wrote."""

from __future__ import annotations

from pathlib import Path

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
import tensorflow as tf
from tfx.types import standard_artifacts

from components.index_gen import Index, settings_text
from components.index_gen.executor import Executor
from modules.settings import IndexSettings
from tests.real_data import BEAM_ARGS

DIMENSION = 16


class SmallNetwork(tf.Module):
    """A convolution, a product and length 1: sums whose rounding depends on their order."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        draw = tf.random.Generator.from_seed(seed)
        self.kernel = tf.Variable(draw.normal([3, 3, 1, 8]))
        self.weights = tf.Variable(draw.normal([14 * 14 * 8, DIMENSION]))

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def embed(self, images):
        pixels = tf.map_fn(tf.io.decode_png, images, fn_output_signature=tf.uint8)
        pixels = tf.cast(tf.ensure_shape(pixels, [None, 28, 28, 1]), tf.float32) / 255
        features = tf.nn.relu(tf.nn.conv2d(pixels, self.kernel, 2, "SAME"))
        rows = tf.reshape(features, [-1, 14 * 14 * 8]) @ self.weights
        return {"embedding": tf.math.l2_normalize(rows, axis=1)}


def model_artifact(root: Path, seed: int = 0) -> standard_artifacts.Model:
    """Saves a network as Trainer saves one."""
    network, artifact = SmallNetwork(seed), standard_artifacts.Model()
    artifact.uri = str(root)
    folder = f"{artifact.uri}/Format-Serving"
    tf.saved_model.save(network, folder, signatures={"images": network.embed})
    return artifact


def blessing(*, blessed: bool) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.set_int_custom_property("blessed", int(blessed))
    return artifact


def make(
    root: Path | str, examples, model, *, previous=(), blessings=(), beam_args=(), **settings
) -> Index:
    """Runs the executor on one artifact of examples, or several, and returns its output."""
    output = Index()
    output.uri = str(root)
    context = Executor.Context(
        make_beam_pipeline_fn=lambda: beam.Pipeline(argv=[*BEAM_ARGS, *beam_args])
    )
    Executor(context).Do(
        {
            "examples": examples if isinstance(examples, list) else [examples],
            "model": [model],
            "model_blessing": list(blessings),
            "previous_index": list(previous),
        },
        {"index": [output]},
        {"settings": settings_text(IndexSettings(**settings))},
    )
    return output


def gallery(index: Index) -> pa.Table:
    return pq.read_table(f"{index.uri}/gallery.parquet")


def contents(index: Index) -> dict[str, bytes]:
    """The files, hidden ones included."""
    root = Path(index.uri)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def counts(index: Index) -> tuple[int, int, int, int]:
    """Images, and how many of them were added and kept; how many were removed."""
    names = ("images", "added", "kept", "removed")
    images, added, kept, removed = (index.get_int_custom_property(name) for name in names)
    return images, added, kept, removed
