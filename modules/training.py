"""The training step around an embedding network."""

from __future__ import annotations

import keras
import tensorflow as tf

from modules.losses import explicit_triplets, mean_over_active, mine
from modules.settings import TrainingSettings


class TripletTrainer(keras.Model):
    """Trains `embedder` on batches of triplets with one fused forward pass per step.

    Logged: `loss` (mean over active mined triplets), `triplet_loss` (mean over all explicit
    triplets, comparable between miners), `active` (fraction of the mined triplets with a loss above
    0), `d_ap` and `d_an` (mean squared distances of the mined triplets), `spread` (variance of the
    embeddings, mean ‖e‖² − ‖mean e‖², near 0 when they have collapsed).
    """

    def __init__(self, embedder: keras.Model, settings: TrainingSettings) -> None:
        super().__init__(name="triplet_trainer")
        self.embedder = embedder
        self.settings = settings
        self.augmentation = _augmentation(settings)
        names = ("triplet_loss", "active", "d_ap", "d_an", "spread")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """Keras's own loss tracker and the means above."""
        return [self._loss_tracker, *self.trackers.values()]

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Pixels float32 [N, H, W, C] to unit embeddings float32 [N, D]."""
        for layer in self.augmentation if training else []:
            images = layer(images, training=True)
        return self.embedder(images, training=training)

    def compute_loss(
        self,
        x: tf.Tensor | None = None,
        y: tf.Tensor | None = None,
        y_pred: tf.Tensor | None = None,
        sample_weight: tf.Tensor | None = None,
        training: bool = True,
    ) -> tf.Tensor:
        """Mines and reduces once, and updates the logged means from the same triplets."""
        del x, sample_weight, training
        margin = self.settings.margin
        mined = mine(self.settings.mining, y_pred, y, margin)
        explicit = explicit_triplets(y_pred, margin)
        count = tf.maximum(mined.count, 1.0)
        values = {
            "triplet_loss": explicit.loss / explicit.count,
            "active": mined.active / count,
            "d_ap": mined.d_ap / count,
            "d_an": mined.d_an / count,
            "spread": tf.reduce_sum(tf.math.reduce_variance(y_pred, axis=0)),
        }
        for name, value in values.items():
            self.trackers[name].update_state(value)
        return mean_over_active(mined)


def _augmentation(settings: TrainingSettings) -> list[keras.layers.Layer]:
    """Random shifts and rotations; the edge pixels fill what comes into view."""
    layers: list[keras.layers.Layer] = []
    if settings.max_rotation:
        layers.append(
            keras.layers.RandomRotation(
                settings.max_rotation, fill_mode="nearest", seed=settings.seed
            )
        )
    if settings.max_shift:
        layers.append(
            keras.layers.RandomTranslation(
                settings.max_shift, settings.max_shift, fill_mode="nearest", seed=settings.seed + 1
            )
        )
    return layers
