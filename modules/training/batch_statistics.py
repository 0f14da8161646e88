"""The statistics of batch normalisation, estimated anew before the network is used as it is served.

While a network learns, batch normalisation uses the mean and variance of the batch, and keeps a
moving average of them for later. After some hundred steps that average may still hold the first
batches: of networks whose momentum is 0.999, all but nothing else. It also belongs to weights that
the network no longer has, and never to averaged ones (`training.ema`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.batches import TransformImages
from modules.models import normalisations_that_learn

# A forward pass takes about a third of a step, and there is one for so many steps: it is about a
# twentieth of the time of the training.
_STEPS_PER_BATCH = 8
MOST_BATCHES = 8
# Mean cosine of an image's embeddings in training and as served below which people are told.
_AGREE = 0.7


class BatchStatistics(keras.callbacks.Callback):
    """Estimates the statistics of batch normalisation before each validation.

    Mean and variance become the exact average over batches of the training images, all of them with
    the weights of the moment (the averaged ones, if there are any). It is "precise batch norm" of
    Wu and Johnson 2021, arXiv:2105.07576. The images are always the same, so a training that is
    gone on with estimates what one that was not killed does; and they are not changed at random,
    since no image is when the model is served: retrieval was better so. The weights that are kept
    are those of a validation, so the exported network has these statistics too. The training step
    does not look at them, and is as it was.

    Adds to the logs, for the callbacks behind it, of the last of these batches: `served_spread`,
    the variance of its embeddings as they are served, and `served_agreement`, the mean cosine
    between an image's embedding in training and as served. Both are absent where no batch
    normalisation learns, and then nothing is computed.

    It has to come before the validation.

    Args:
        images: Encoded training images, object [N] of bytes.
        batch_size: As in training; on several replicas, what one of them sees.
        transform_images: Encoded images, string [N], to what the network takes.
        note: Prints a line.
    """

    def __init__(
        self,
        images: np.ndarray,
        batch_size: int,
        transform_images: TransformImages,
        note: Callable[[str], None],
    ) -> None:
        super().__init__()
        count = min(MOST_BATCHES, max(1, len(images) // batch_size))
        self._batches = np.array_split(images[: count * batch_size], count)
        self._transform_images = transform_images
        self._note = note
        self._told = False

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Looks for batch normalisation that learns."""
        self._layers = normalisations_that_learn(self.model.embedder)
        self._last = int(self.model.steps_done.numpy())
        embedder, layers = self.model.embedder, self._layers

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([])])
        def see(images: tf.Tensor, momentum: tf.Tensor) -> tf.Tensor:
            pixels = self._transform_images(images)
            own = [layer.momentum for layer in layers]
            try:
                for layer in layers:
                    layer.momentum = momentum
                return embedder(pixels, training=True)
            finally:
                for layer, value in zip(layers, own, strict=True):
                    layer.momentum = value

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def serve(images: tf.Tensor) -> tf.Tensor:
            return embedder(self._transform_images(images), training=False)

        self._see, self._serve = see, serve

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Estimates, and compares the network in training with the one that is served."""
        steps = int(self.model.steps_done.numpy())
        count, self._last = max(1, (steps - self._last) // _STEPS_PER_BATCH), steps
        if not self._layers:
            return
        with self.model.averaged_weights():
            for layer in self._layers:
                layer.moving_mean.assign(tf.zeros_like(layer.moving_mean))
                layer.moving_variance.assign(tf.ones_like(layer.moving_variance))
            batches = [tf.constant(batch) for batch in self._batches[:count]]
            # A mean over the batches so far: the first one replaces what was there.
            trained = [
                self._see(batch, tf.constant(number / (number + 1)))
                for number, batch in enumerate(batches)
            ][-1].numpy()
            served = self._serve(batches[-1]).numpy()
        agreement = float((trained * served).sum(axis=1).mean())
        spreads = [float(np.var(found, axis=0).sum()) for found in (trained, served)]
        if logs is not None:
            logs |= {"served_spread": spreads[1], "served_agreement": agreement}
        if agreement < _AGREE and not self._told:
            self._told = True
            self._note(
                f"At step {steps} the network that would be served is not the one in training: "
                "the embeddings that both make of the same training images have a mean cosine of "
                f"{agreement:.2f} (spread {spreads[1]:.1e} as served, {spreads[0]:.1e} in "
                "training). Batch normalisation needs larger batches, or dropout is high."
            )
