"""The training step on several machines, where Keras 3 itself cannot make one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from modules.batches import Share
from modules.training.triplet_model import TripletModel

_MOST_BYTES = 8192  # of the figures of a validation, as text


class Place(NamedTuple):
    """Where this process stands among those of the training.

    Attributes:
        number: Of this worker; 0 is the chief, which alone validates and writes.
        share: What of each batch it embeds; None: all, there is no other worker.
    """

    number: int = 0
    share: Share | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this process validates and writes."""
        return self.number == 0


def find_place(strategy: tf.distribute.Strategy) -> Place:
    """The place of this process in a strategy; the chief's unless there are several workers."""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return Place()
    number = strategy.cluster_resolver.task_id or 0
    here = len(strategy.extended.worker_devices)
    own = range(number * here, (number + 1) * here)
    return Place(number, Share(strategy.num_replicas_in_sync, own))


class FromChief:
    """Tells all workers what the chief has found.

    All of them have to call it, and wait for the others in it.

    Args:
        strategy: Of the training; with a single worker its own values come back.
    """

    def __init__(self, strategy: tf.distribute.Strategy) -> None:
        self._alone = find_place(strategy).share is None

        def one(values: tf.Tensor) -> tf.Tensor:
            replica = tf.distribute.get_replica_context()
            first = tf.cast(tf.equal(replica.replica_id_in_sync_group, 0), values.dtype)
            return replica.all_reduce(tf.distribute.ReduceOp.SUM, values * first)

        @tf.function(autograph=False)
        def tell(values: tf.Tensor) -> tf.Tensor:
            return strategy.experimental_local_results(strategy.run(one, args=(values,)))[0]

        self._tell = tell

    def __call__(self, values: dict[str, float]) -> dict[str, float]:
        """Returns the values of the chief to the last bit; those of the others do not count."""
        if self._alone:
            return values
        text = json.dumps(values).encode()
        if len(text) > _MOST_BYTES:
            raise ValueError(f"{len(values)} figures are too many to tell: {len(text)} bytes.")
        # As numbers that every kind of device can add.
        codes = np.frombuffer(text.ljust(_MOST_BYTES), np.uint8).astype(np.float32)
        return json.loads(self._tell(tf.constant(codes)).numpy().astype(np.uint8).tobytes())


class SameFigures(keras.callbacks.Callback):
    """Puts the chief's figures of each stretch in the place of a worker's own.

    It has to come after the validation, and before all that decides by its figures: so all workers
    decide alike, and none goes on while another has ended.

    Args:
        from_chief: Tells them.
    """

    def __init__(self, from_chief: FromChief) -> None:
        super().__init__()
        self._from_chief = from_chief

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Waits for the chief's."""
        if logs is not None:
            logs |= self._from_chief({name: float(value) for name, value in logs.items()})


def weights_fingerprint(model: keras.Model) -> str:
    """A hash of the weights that learn: 8 hexadecimal digits, the same on every worker."""
    digest = hashlib.sha256()
    for weight in model.trainable_variables:
        digest.update(weight.numpy().tobytes())
    return digest.hexdigest()[:8]


class ModelOnWorkers(TripletModel):
    """A `TripletModel` under `tf.distribute.MultiWorkerMirroredStrategy`.

    Keras 3.15 does two things that fail there: before training it averages a batch over the
    replicas, and after each step it averages scalars along an axis that they do not have. Neither
    is needed: this model is built when it is made, and what a step logs is the same on every
    replica, since each of them looks at the gathered batch.
    """

    train_function: Any  # Keras sets it to None at first

    def make_train_function(self, force: bool = False) -> Callable[[Iterator[Any]], dict[str, Any]]:
        """Returns what Keras calls for each step: takes a batch, returns the logged means."""
        if self.train_function is None or force:
            strategy = self.distribute_strategy

            @tf.function(reduce_retracing=True, autograph=False)
            def step(data: Any) -> dict[str, tf.Tensor]:
                logs = strategy.run(self.train_step, args=(data,))
                return {k: strategy.experimental_local_results(v)[0] for k, v in logs.items()}

            self.train_function = lambda batches: step(next(batches))
        return self.train_function

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing is left to be built."""
