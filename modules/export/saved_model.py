"""The SavedModel that leaves the pipeline: transform graph and network in one."""

from __future__ import annotations

import tempfile

import keras
import tensorflow as tf

from modules.contract import IMAGE
from modules.export.asset_tensor import AssetTensor
from modules.export.bad_images import decode_or_name
from modules.export.keras_variables import one_variable_each
from modules.index import (
    GALLERY_IDS,
    GALLERY_LABELS,
    GALLERY_VECTORS,
    THRESHOLD,
    write_empty_assets,
)

_TYPES = {
    GALLERY_IDS: tf.string,
    GALLERY_LABELS: tf.string,
    GALLERY_VECTORS: tf.float32,
    THRESHOLD: tf.float32,
}
_STRINGS = tf.TensorSpec([None], tf.string)


class EmbeddingModule(tf.Module):
    """Serving functions; loading them needs TensorFlow and no code of this project.

    | signature         | takes                                 | returns                        |
    |-------------------|---------------------------------------|--------------------------------|
    | `serving_default` | `examples`, string [N]: serialized    | `embedding`, float32 [N, D] of |
    |                   | tf.Examples with a feature `image`    | norm 1                         |
    | `images`          | `images`, string [N]: image files     | the same                       |
    | `nearest`         | `images`; `k`, int32: a scalar or [N] | `ids`, `labels`, string [N,k]; |
    |                   | of which the largest counts           | `distances`, float32 [N, k]    |
    | `match`           | `a`, `b`, string [N]: image files     | `distance`, float32 [N];       |
    |                   |                                       | `same`, bool [N]               |

    Distances are squared L2. N may be 0. `nearest` searches the gallery that a push has given to
    the model, all of it, and k is at most its size; `match` says whether the distance is below the
    calibrated threshold. Without these they answer with an error. So they do where an image cannot
    be decoded; the error names its row.
    """

    def __init__(self, embedder: keras.Model, transform: keras.layers.Layer) -> None:
        super().__init__()
        self.embedder = embedder
        self.transform = transform  # tracked, so that its tables and constants are saved too
        self._assets: dict[str, tf.saved_model.Asset] = {}
        self._tensors: dict[str, AssetTensor] = {}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def embed_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images to embeddings."""
        return {"embedding": self._embed_images(images, _rows("images", images))}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples to embeddings."""
        examples = tf.ensure_shape(examples, [None])
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        images = parsed[IMAGE]
        return {"embedding": self._embed_images(images, _rows("examples", images))}

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="images"),
            tf.TensorSpec(None, tf.int32, name="k"),
        ]
    )
    def find_nearest(self, images: tf.Tensor, k: tf.Tensor) -> dict[str, tf.Tensor]:
        """The k nearest of the gallery to each image, nearest first; at equal distance by id."""
        gallery = self._tensors[GALLERY_VECTORS].read()
        there = tf.debugging.Assert(
            tf.size(gallery) > 0,
            ["this version has no gallery to search: [index] is not enabled, or the gallery has "
             "more than nearest_up_to images. Set that and push again."],
        )  # fmt: skip
        positive = tf.debugging.Assert(tf.reduce_all(k > 0), ["k must be at least 1, not", k])
        k = tf.reduce_max(tf.concat([[1], tf.reshape(k, [-1])], axis=0))
        with tf.control_dependencies([there, positive]):
            k = tf.minimum(k, tf.shape(gallery)[0])
        queries = self._embed_images(images, _rows("images", images))
        # The gallery has its rows in the order of ids, and of equal values the first one is taken.
        rows = tf.sort(tf.math.top_k(tf.matmul(queries, gallery, transpose_b=True), k).indices)
        found = tf.gather(gallery, rows)
        # Of the few that are near, without the rounding of the product.
        distances = tf.reduce_sum(tf.square(found - queries[:, tf.newaxis]), axis=-1)
        nearest = tf.math.top_k(-distances, k)
        rows = tf.gather(rows, nearest.indices, batch_dims=1)
        return {
            "ids": tf.gather(self._tensors[GALLERY_IDS].read(), rows),
            "labels": tf.gather(self._tensors[GALLERY_LABELS].read(), rows),
            "distances": -nearest.values,
        }

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.string, name="a"),
            tf.TensorSpec([None], tf.string, name="b"),
        ]
    )
    def compare(self, a: tf.Tensor, b: tf.Tensor) -> dict[str, tf.Tensor]:
        """Whether each image of `a` shows the same as that of `b`."""
        threshold = self._tensors[THRESHOLD].read()
        calibrated = tf.debugging.Assert(
            tf.size(threshold) == 1,
            ["this version has no calibrated threshold. Set [evaluation] false_accept_rate and "
             "push again."],
        )  # fmt: skip
        with tf.control_dependencies([calibrated]):
            threshold = tf.reshape(threshold, [])
        a, b = tf.ensure_shape(a, [None]), tf.ensure_shape(b, [None])
        pairs = tf.debugging.Assert(
            tf.size(a) == tf.size(b),
            ["a and b must have as many images, but have", tf.size(a), "and", tf.size(b)],
        )
        with tf.control_dependencies([pairs]):
            both = tf.concat([a, b], axis=0)
        places = tf.concat([_rows("a", a), _rows("b", b)], axis=0)
        first, second = tf.split(self._embed_images(both, places), 2)
        distance = tf.reduce_sum(tf.square(first - second), axis=-1)
        return {"distance": distance, "same": distance < threshold}

    # Each part is one function of the graph: to write it out for each signature would take time
    # whenever a model is saved or loaded.
    @tf.function(input_signature=[_STRINGS], autograph=False)
    def _decode_images(self, images: tf.Tensor) -> tf.Tensor:
        return self.transform({IMAGE: images[:, tf.newaxis]})[IMAGE]

    @tf.function(autograph=False)
    def _run_network(self, pixels: tf.Tensor) -> tf.Tensor:
        return self.embedder(pixels, training=False)

    @tf.function(input_signature=[_STRINGS, _STRINGS], autograph=False)
    def _embed_images(self, images: tf.Tensor, places: tf.Tensor) -> tf.Tensor:
        # A server checks no shape, and more dimensions would be taken for more images.
        images = tf.ensure_shape(images, [None])
        pixels = decode_or_name(self._decode_images, images, places)
        return tf.cond(  # networks need not bear a batch of none
            tf.size(images) > 0,
            lambda: self._run_network(pixels),
            lambda: tf.zeros([0, self.embedder.output_shape[-1]]),
        )

    def save(self, path: str) -> None:
        """Writes the SavedModel with all signatures."""
        with tempfile.TemporaryDirectory() as folder:
            write_empty_assets(folder)
            for name, dtype in _TYPES.items():
                self._assets[name] = tf.saved_model.Asset(f"{folder}/{name}")
                self._tensors[name] = AssetTensor(self._assets[name], name, dtype)
            signatures = {
                "serving_default": self.embed_examples,
                "images": self.embed_images,
                "nearest": self.find_nearest,
                "match": self.compare,
            }
            with one_variable_each():
                tf.saved_model.save(self, path, signatures=signatures)


def _rows(name: str, values: tf.Tensor) -> tf.Tensor:
    """Names the rows of an input: `images, row 0` and so on."""
    return tf.strings.join([name, ", row ", tf.strings.as_string(tf.range(tf.size(values)))])
