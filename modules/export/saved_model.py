"""The SavedModel that leaves the pipeline: transform graph and network in one."""

from __future__ import annotations

import keras
import tensorflow as tf

from modules.contract import IMAGE


class EmbeddingModule(tf.Module):
    """Serving functions; loading them needs TensorFlow and no code of this project.

    Signatures: `serving_default` takes `examples`, string [N], serialized tf.Examples with an
    `image` feature; `images` takes `images`, string [N], image files (`docs/images.md`). Both
    return `embedding`, float32 [N, D] of norm 1.
    """

    def __init__(self, embedder: keras.Model, transform: keras.layers.Layer) -> None:
        super().__init__()
        self.embedder = embedder
        self.transform = transform  # tracked, so that its tables and constants are saved too

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def embed_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded images to embeddings."""
        pixels = self.transform({IMAGE: images[:, tf.newaxis]})[IMAGE]
        return {"embedding": self.embedder(pixels, training=False)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def embed_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """Serialized tf.Examples to embeddings."""
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return self.embed_images(parsed[IMAGE])

    def save(self, path: str) -> None:
        """Writes the SavedModel with both signatures."""
        signatures = {"serving_default": self.embed_examples, "images": self.embed_images}
        tf.saved_model.save(self, path, signatures=signatures)
