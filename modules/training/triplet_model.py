"""The training step around an embedding network."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.images import (
    Augmentation,
    draw_bends,
    draw_orientations,
    label_orientations,
    orientations_of,
)
from modules.losses import LossValues, Memory, Rows, compatibility_loss, make_objective
from modules.settings import TrainingSettings
from modules.training.gathering import gather_rows


class TripletModel(keras.Model):
    """Trains `embedder` with one fused forward pass per step.

    The first `warmup_steps` steps mine semi-hard triplets, without `swap`; then the chosen mining
    begins. A memory of earlier batches, and proxies of the classes, are variables of this model:
    they belong to the state of the training, not to the exported network. Every random choice of a
    step depends on the seed and the number of the step alone, so a training can be interrupted and
    goes on as if it had not been.

    On several replicas (`tf.distribute`) each one embeds its share of the batch and all of them
    look at the gathered embeddings of the whole batch, so loss and gradient are those of one device
    with the same batch. (Batch normalisation sees the replica's share only.)

    Logged: `loss`; of triplets `active` (fraction of the mined ones with a loss above 0), `d_ap`
    and `d_an` (mean distances of the mined ones, in the chosen distance); of other losses `active`
    as their docstring says, `d_ap` and `d_an` (mean squared L2 distances of all pairs of one class
    and of different classes); `spread` (variance of the embeddings, mean ‖e‖² − ‖mean e‖², near 0
    when they have collapsed); `classes` (different ones in the batch) and `alone` (fraction of the
    rows that are the only ones of their class in it); with `compatibility_weight` `compatibility`,
    that loss, which is no part of `loss`. All are means over the steps since the last
    validation.

    Args:
        embedder: Pixels float32 [N, H, W, C] to unit embeddings float32 [N, D].
        settings: Loss, augmentation, seed.
        classes: Labels int64 [C] of all classes of the training, each once; only needed if
            `settings.needs_classes`.

    Raises:
        ValueError: The loss needs classes and there are none, or colours of grey images are to be
            changed.
    """

    def __init__(
        self,
        embedder: keras.Model,
        settings: TrainingSettings,
        classes: np.ndarray | None = None,
    ) -> None:
        super().__init__(name="triplet_model")
        settings.check_channels(embedder.input_shape[-1])
        self.embedder = embedder
        self.settings = settings
        self.augmentation = Augmentation(settings)
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
        self.memory = None
        if settings.memory:
            self.memory = Memory(settings.memory, embedder.output_shape[-1])
        self.proxies = None
        if classes is not None and settings.orients_classes:
            every = label_orientations(classes[:, None], orientations_of(settings))
            classes = np.asarray(every).reshape(-1)
        if settings.needs_classes:
            self.proxies = self._make_proxies(classes)
        self.objective = make_objective(
            settings, classes, lambda: tf.convert_to_tensor(self.proxies)
        )
        if settings.warmup_steps:
            milder = settings.model_copy(update={"mining": "semi_hard", "swap": False})
            self.warmup_objective = make_objective(milder)
        names = [*LossValues._fields, "spread", "classes", "alone"]
        if settings.compatibility_weight:
            names.append("compatibility")
        self.trackers = {name: keras.metrics.Mean(name=name) for name in names}

    def _make_proxies(self, classes: np.ndarray | None) -> keras.Variable:
        """A random point per class, as in the code of the paper (He et al. 2015, fan out)."""
        if classes is None or not len(classes):
            raise ValueError(f"loss = '{self.settings.loss}' needs the classes of the training.")
        deviation, seed = (2 / len(classes)) ** 0.5, self.settings.seed
        return self.add_weight(
            shape=(len(classes), self.embedder.output_shape[-1]),
            initializer=keras.initializers.RandomNormal(stddev=deviation, seed=seed),
            name="proxies",
        )

    @property
    def state_variables(self) -> list[keras.Variable]:
        """What a training needs to go on where it stopped, with the optimizer's own variables."""
        return [
            *self.embedder.variables,
            *self.optimizer.variables,
            self.steps_done,
            *([] if self.memory is None else self.memory.variables),
            *([] if self.proxies is None else [self.proxies]),
        ]

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        """The logged means."""
        return list(self.trackers.values())

    def call(
        self,
        images: tf.Tensor,
        training: bool = False,
        orientations: tf.Tensor | None = None,
        bends: tf.Tensor | None = None,
    ) -> tf.Tensor:
        """Pixels float32 [N, H, W, C] to unit embeddings float32 [N, D].

        In training they are changed at random, turned by their orientations, int32 [N], and bent
        by their bends, float32 [N, 18].
        """
        if training:
            images = self.augmentation(
                images, seed=self._replica_seed(), orientations=orientations, bends=bends
            )
        return self.embedder(images, training=training)

    def train_step(self, data: tuple[tf.Tensor, ...]) -> dict[str, tf.Tensor]:
        """Learns from a batch and returns the logged means.

        Args:
            data: Pixels float32 [N, H, W, C] and labels [N]; with `compatibility_weight` perhaps
                the embeddings of the same images by an earlier model, float32 [N, D].
        """
        images, labels, *earlier = data
        replica = tf.distribute.get_replica_context()
        replicas = replica.num_replicas_in_sync
        weights = self.trainable_variables
        labels = tf.cast(labels, tf.int64)
        orientations = bends = None
        old = Rows(labels, earlier[0]) if earlier else None  # of the images as they are
        if self.settings.orients_classes:
            orientations = draw_orientations(labels, self._seed(), self.settings)
            labels = label_orientations(labels, orientations)
        if self.settings.bend_classes:
            labels, bends = draw_bends(labels, self._seed(), self._replica_seed())
        with tf.GradientTape() as tape:
            embeddings = self(images, training=True, orientations=orientations, bends=bends)
            embeddings = tf.cast(embeddings, tf.float32)  # not every device adds bfloat16
            if replicas > 1:
                # Its gradient is the sum over all replicas, hence the division.
                embeddings, labels = gather_rows(embeddings), gather_rows(labels)
                old = old and Rows(*map(gather_rows, old))
            rows = Rows(labels, embeddings)
            values = self.evaluate_loss(rows)
            loss = values.loss
            if old is not None:
                across = compatibility_loss(rows, old)
                loss += self.settings.compatibility_weight * across
                self.trackers["compatibility"].update_state(across)
            scaled = self.optimizer.scale_loss(loss / replicas)
        # Published networks have weights of their own training that no embedding depends on.
        gradients = [
            tf.zeros_like(tf.convert_to_tensor(weight)) if gradient is None else gradient
            for weight, gradient in zip(weights, tape.gradient(scaled, weights), strict=True)
        ]
        if replicas > 1:
            gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        self.optimizer.apply(gradients, weights)
        self.steps_done.assign_add(1)
        if self.memory is not None:
            self.memory.remember(rows)
        members = tf.unique_with_counts(rows.labels).count
        more = {
            "spread": tf.reduce_sum(tf.math.reduce_variance(rows.embeddings, axis=0)),
            "classes": tf.size(members),
            "alone": tf.reduce_sum(tf.cast(members == 1, tf.float32))
            / tf.cast(tf.size(rows.labels), tf.float32),
        }
        for name, value in {**values._asdict(), **more}.items():
            self.trackers[name].update_state(value)
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def evaluate_loss(self, rows: Rows) -> LossValues:
        """The loss of a batch at this step: labels int64 [N], unit embeddings float32 [N, D]."""
        step = tf.convert_to_tensor(self.steps_done)
        memory = None
        if self.memory is not None:
            memory = self.memory.rows(step >= self.settings.memory_from_step)
        if not self.settings.warmup_steps:
            return self.objective(rows, memory, self._seed())
        return tf.cond(
            step < self.settings.warmup_steps,
            lambda: self.warmup_objective(rows, memory, self._seed()),
            lambda: self.objective(rows, memory, self._seed()),
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
        """Puts the averaged weights in place for a while, if the optimizer averages."""
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not optimizer.use_ema or not optimizer.built:
            yield
            return
        weights = self.trainable_variables
        trained = [weight.numpy() for weight in weights]
        optimizer.finalize_variable_values(weights)
        try:
            yield
        finally:
            for weight, value in zip(weights, trained, strict=True):
                weight.assign(value)
