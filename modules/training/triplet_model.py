"""The training step around an embedding network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

from modules.images import Augmentation
from modules.losses import LossSums, TripletLoss, mean_over_active
from modules.settings import LossSettings, TrainingSettings


class TripletModel(keras.Model):
    """Trains `embedder` with one fused forward pass per step.

    The first `warmup_steps` steps mine semi-hard triplets, without `swap`; then the chosen mining
    begins. Every random choice of a step depends on the seed and the number of the step alone, so
    a training can be interrupted and goes on as if it had not been.

    On several replicas (`tf.distribute`) each one embeds its share of the batch and all of them
    mine in the gathered embeddings of the whole batch, so loss and gradient are those of one device
    with the same batch. (Batch normalisation sees the replica's share only.)

    Logged: `loss` (mean over active mined triplets), `active` (fraction of the mined triplets with
    a loss above 0), `d_ap` and `d_an` (mean distances of the mined triplets, in the chosen
    distance), `spread` (variance of the embeddings, mean ‖e‖² − ‖mean e‖², near 0 when they have
    collapsed), `classes` (different ones in the batch), `alone` (fraction of the rows that are the
    only ones of their class in it); all are means over the steps since the last validation.
    """

    def __init__(self, embedder: keras.Model, settings: TrainingSettings) -> None:
        super().__init__(name="triplet_model")
        self.embedder = embedder
        self.settings = settings
        self.augmentation = Augmentation(settings)
        chosen = settings.model_dump(include=set(LossSettings.model_fields))
        self.objective = TripletLoss(**chosen)
        self.warmup_objective = TripletLoss(**chosen | {"mining": "semi_hard", "swap": False})
        # How many steps have been made; the optimizer's own number leaves out those whose float16
        # gradients overflowed.
        self.steps_done = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="steps_done",
            aggregation="only_first_replica",
        )  # fmt: skip
        # How many there will be; a variable, since a budget of minutes fixes it on the way.
        self.total_steps = self.add_weight(
            shape=(), dtype="int64", initializer="zeros", trainable=False, name="total_steps",
            aggregation="only_first_replica",
        )  # fmt: skip
        names = ("loss", "active", "d_ap", "d_an", "spread", "classes", "alone")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The logged means."""
        return list(self.trackers.values())

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Pixels float32 [N, H, W, C] to unit embeddings float32 [N, D]."""
        if training:
            images = self.augmentation(images, seed=self._replica_seed())
        return self.embedder(images, training=training)

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Learns from (pixels float32 [N, H, W, C], labels [N]) and returns the logged means."""
        images, labels = data
        replica = tf.distribute.get_replica_context()
        replicas = replica.num_replicas_in_sync
        weights = self.embedder.trainable_weights
        with tf.GradientTape() as tape:
            embeddings = self(images, training=True)
            if replicas > 1:
                # The gradient of all_gather is the sum over all replicas, hence the division.
                embeddings = replica.all_gather(embeddings, axis=0)
                labels = replica.all_gather(labels, axis=0)
            mined = self.mine(labels, embeddings)
            loss = mean_over_active(mined)
            scaled = self.optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(scaled, weights)
        if replicas > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, weights)
        self.steps_done.assign_add(1)
        count = tf.maximum(mined.count, 1.0)
        members = tf.unique_with_counts(labels).count
        values = {
            "loss": loss,
            "active": mined.active / count,
            "d_ap": mined.d_ap / count,
            "d_an": mined.d_an / count,
            "spread": tf.reduce_sum(tf.math.reduce_variance(embeddings, axis=0)),
            "classes": tf.size(members),
            "alone": tf.reduce_sum(tf.cast(members == 1, tf.float32))
            / tf.cast(tf.size(labels), tf.float32),
        }
        for name, value in values.items():
            self.trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def mine(self, labels: tf.Tensor, embeddings: tf.Tensor) -> LossSums:
        """The triplets of a batch at this step; labels [N], unit embeddings [N, D]."""
        if not self.settings.warmup_steps:
            return self.objective.sums(labels, embeddings, self._seed())
        return tf.cond(
            tf.convert_to_tensor(self.steps_done) < self.settings.warmup_steps,
            lambda: self.warmup_objective.sums(labels, embeddings),
            lambda: self.objective.sums(labels, embeddings, self._seed()),
        )

    def _seed(self) -> tf.Tensor:
        """Of this step, int64 [2]."""
        step = tf.cast(tf.convert_to_tensor(self.steps_done), tf.int64)
        return tf.stack([tf.constant(self.settings.seed, tf.int64), step])

    def _replica_seed(self) -> tf.Tensor:
        """The same on one device; on several each has its own."""
        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return self._seed()
        number = replica.replica_id_in_sync_group
        return tf.random.experimental.stateless_fold_in(self._seed(), number)

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the averaged weights into the network for a while, if the optimizer averages."""
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not optimizer.use_ema or not optimizer.built:
            yield
            return
        weights = self.embedder.trainable_weights
        trained = [weight.numpy() for weight in weights]
        optimizer.finalize_variable_values(weights)
        try:
            yield
        finally:
            for weight, value in zip(weights, trained, strict=True):
                weight.assign(value)
