"""A training from its settings: devices, optimizer, batches, callbacks."""

from __future__ import annotations

import math

import keras
import tensorflow as tf

from modules.batches import (
    LabelledImages,
    TransformImages,
    class_batches,
    neighbour_batches,
    triplet_batches,
)
from modules.models import backbone_variables
from modules.settings import ModelSettings, TrainingSettings
from modules.training.callbacks import BestWeights, FailureGuard, RetrievalValidation
from modules.training.checkpoints import Checkpoints
from modules.training.optimizers import make_optimizer
from modules.training.progress import TrainingProgress
from modules.training.triplet_model import TripletModel


def make_strategy(distribution: str) -> tf.distribute.Strategy:
    """Where training runs.

    Args:
        distribution: `one` (TensorFlow's choice of device), `mirrored` (all GPUs of this machine,
            or all its logical CPUs if it has none), or the name of a device, such as `/GPU:0`.

    Returns:
        A strategy of `tf.distribute`.

    Raises:
        ValueError: There is no such device.
    """
    if distribution == "one":
        return tf.distribute.get_strategy()
    found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
    if distribution == "mirrored":
        return tf.distribute.MirroredStrategy([device.name for device in found])
    names = [device.name for device in tf.config.list_logical_devices()]
    if not any(name.upper().endswith(distribution.upper().lstrip("/")) for name in names):
        raise ValueError(
            f"training.distribution = '{distribution}': there is no such device here, only "
            f"{', '.join(names)}."
        )
    return tf.distribute.OneDeviceStrategy(distribution)


def compile_model(
    embedder: keras.Model, settings: TrainingSettings, steps: int, model: ModelSettings
) -> TripletModel:
    """Puts the training step and the optimizer around a network (in the strategy's scope)."""
    trainer = TripletModel(embedder, settings)
    fine_tuned = model.trainable == "fine_tune"
    optimizer = make_optimizer(
        settings,
        steps,
        settings.precision,
        slow=backbone_variables(embedder) if fine_tuned else (),
        slow_factor=model.backbone_learning_rate_factor if fine_tuned else 1.0,
    )
    optimizer.build(embedder.trainable_variables)
    # Without XLA, which is slower than plain TensorFlow on CPU for these networks.
    trainer.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
    return trainer


def fit(
    trainer: TripletModel,
    steps: int,
    train_files: list[str],
    validation: LabelledImages,
    transform_images: TransformImages,
    *,
    log_dir: str,
    checkpoints: str,
    batch_size: int,
) -> tuple[BestWeights, Checkpoints | None]:
    """Trains until the steps are used up or the eval split stops improving.

    An epoch in Keras's sense is the steps between two validations, so `steps` is rounded up to
    whole ones. A training that was killed goes on at its last validation.

    Args:
        trainer: As `compile_model` returns it.
        steps: Of the whole training.
        train_files: Globs of triplets.
        validation: Images of the eval split.
        transform_images: Encoded images to pixels.
        log_dir: For TensorBoard.
        checkpoints: Folder that a later attempt at the same training finds again.
        batch_size: Images in a batch of triplets.

    Returns:
        The best weights, and the checkpoints, to be deleted when the model is safe.
    """
    settings = trainer.settings
    every = min(steps, settings.validate_every)
    epochs = math.ceil(steps / every)
    guard, best = FailureGuard(settings), BestWeights(settings.patience)
    saved = None
    if settings.resume:
        saved = Checkpoints(checkpoints, trainer, {"guard": guard, "best": best})
    resumed = saved is not None and saved.restore()
    done = int(trainer.steps_done.numpy())
    with TrainingProgress(every * epochs, done) as progress:
        if resumed:
            progress.note(f"Goes on at step {done} of an earlier attempt ({checkpoints}).")
        if best.finished or done >= every * epochs:
            return best, saved
        trainer.fit(
            training_batches(
                train_files,
                transform_images,
                settings,
                batch_size,
                done,
                replicas=trainer.distribute_strategy.num_replicas_in_sync,
            ),
            steps_per_epoch=every,
            initial_epoch=done // every,
            epochs=epochs,
            shuffle=False,  # the input has done it
            verbose=0,
            callbacks=[
                guard,
                RetrievalValidation(validation, transform_images, f"{log_dir}/validation"),
                best,
                keras.callbacks.TensorBoard(log_dir, update_freq=every, histogram_freq=1),
                progress,
                *([saved] if saved else []),
            ],
        )
    return best, saved


def training_batches(
    train_files: list[str],
    transform_images: TransformImages,
    settings: TrainingSettings,
    batch_size: int,
    skip: int = 0,
    *,
    replicas: int = 1,
) -> tf.data.Dataset:
    """The batches that the settings ask for: of triplets, or of classes with several images each.

    Every replica embeds an equal share of a batch (`tf.distribute` and Keras need it so).

    Args:
        train_files: Globs of TripletGen's files.
        transform_images: Encoded images to pixels.
        settings: `batches`, `mining`, `cache_megabytes`, `seed`, and the sizes for classes.
        batch_size: Images in a batch of triplets.
        skip: How many batches to leave out at the start.
        replicas: How many share a batch.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]).
    """
    cache_bytes = settings.cache_megabytes * 2**20
    if settings.batches == "classes":
        return class_batches(
            train_files, transform_images, settings.classes_per_batch, settings.images_per_class,
            settings.seed, skip=skip, cache_bytes=cache_bytes, multiple=replicas,
        )  # fmt: skip
    if settings.mining == "none":
        # As many triplets as every replica can have an equal share of.
        count = max(replicas, batch_size // 3 // replicas * replicas)
        return triplet_batches(
            train_files, transform_images, count, settings.seed, skip=skip, cache_bytes=cache_bytes
        )
    return neighbour_batches(
        train_files, transform_images, batch_size, settings.seed,
        skip=skip, cache_bytes=cache_bytes, multiple=replicas,
    )  # fmt: skip
