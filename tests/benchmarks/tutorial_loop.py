"""The training loop that tutorials of the triplet loss show, as a baseline."""

from __future__ import annotations

import keras
import tensorflow as tf

from modules.settings import ImageSettings

IMAGE = ImageSettings()
MARGIN = 0.2
BATCH = 32  # triplets


def classic_network() -> keras.Model:
    """As the tutorials write it: conv 32, pool, conv 64, pool, dense 128, embedding 128."""
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((IMAGE.height, IMAGE.width, IMAGE.channels)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(128),
            layers.UnitNormalization(),
        ]
    )


class TutorialLoop:
    """Explicit triplets, three forward calls per step, Adam, float32."""

    def __init__(self) -> None:
        self.model = classic_network()
        self._optimizer = keras.optimizers.Adam(1e-3)

    @tf.function
    def step(self, anchor: tf.Tensor, positive: tf.Tensor, negative: tf.Tensor) -> tf.Tensor:
        """Learns from pixels float32 [B, H, W, C] of each role; returns the loss."""
        with tf.GradientTape() as tape:
            a, p, n = (self.model(x, training=True) for x in (anchor, positive, negative))
            d_ap = tf.reduce_sum(tf.square(a - p), axis=1)
            d_an = tf.reduce_sum(tf.square(a - n), axis=1)
            loss = tf.reduce_mean(tf.maximum(d_ap - d_an + MARGIN, 0.0))
        variables = self.model.trainable_variables
        self._optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss
