"""A training from its settings: devices, optimizer, batches, callbacks."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.batches import (
    CacheLimits,
    LabelledImages,
    LookUp,
    Share,
    TransformImages,
    class_batches,
    labelled_images,
    neighbour_batches,
    triplet_batches,
)
from modules.models import backbone_variables
from modules.settings import MULTI_WORKER, ModelSettings, TrainingSettings
from modules.training.batch_statistics import MOST_BATCHES, BatchStatistics
from modules.training.callbacks import BestWeights, RetrievalValidation
from modules.training.checkpoints import Checkpoints, Resumable
from modules.training.guard import FailureGuard
from modules.training.on_workers import (
    FromChief,
    ModelOnWorkers,
    Place,
    SameFigures,
    find_place,
    weights_fingerprint,
)
from modules.training.optimizers import make_optimizer
from modules.training.pace import WITHOUT_END, Pace
from modules.training.progress import TrainingProgress
from modules.training.report import Report
from modules.training.triplet_model import TripletModel


def make_strategy(distribution: str) -> tf.distribute.Strategy:
    """Where training runs.

    Args:
        distribution: `one` (TensorFlow's choice of device), `mirrored` (all GPUs of this machine,
            or all its logical CPUs if it has none), `multi_worker` (all GPUs, or the processor, of
            this worker and of the others that TF_CONFIG names; nothing of TensorFlow may have run
            before), or the name of a device, such as `/GPU:0`.

    Returns:
        A strategy of `tf.distribute`.

    Raises:
        ValueError: There is no such device.
    """
    if distribution == "one":
        return tf.distribute.get_strategy()
    if distribution == MULTI_WORKER:
        return tf.distribute.MultiWorkerMirroredStrategy()
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
    embedder: keras.Model,
    settings: TrainingSettings,
    steps: int | None,
    model: ModelSettings,
    classes: np.ndarray | None = None,
) -> TripletModel:
    """Puts the training step and the optimizer around a network (in the strategy's scope).

    Args:
        embedder: The network.
        settings: Of the training.
        steps: Of the whole training; None: as many as `settings.minutes` allow.
        model: Of the network.
        classes: Labels int64 [C] of the training, if `settings.needs_classes`.

    Returns:
        What `fit` trains.
    """
    several = find_place(tf.distribute.get_strategy()).share is not None
    trainer = (ModelOnWorkers if several else TripletModel)(embedder, settings, classes)
    trainer.total_steps.assign(steps or 0)
    rates = []
    if model.trainable == "fine_tune":
        rates.append((backbone_variables(embedder), model.backbone_learning_rate_factor))
    if trainer.proxies is not None and settings.proxy_learning_rate_factor:
        rates.append(([trainer.proxies], settings.proxy_learning_rate_factor))
    optimizer = make_optimizer(settings, trainer.total_steps, settings.precision, rates)
    optimizer.build(trainer.trainable_variables)
    # Without XLA, which is slower than plain TensorFlow on CPU for these networks.
    trainer.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
    return trainer


def fit(
    trainer: TripletModel,
    train_files: list[str],
    validation: LabelledImages,
    transform_images: TransformImages,
    batch_size: int,
    *,
    distractors: LabelledImages | None = None,
    earlier: LookUp | None = None,
    log_dir: str,
    checkpoints: str,
) -> tuple[BestWeights, Checkpoints | None]:
    """Trains until the steps or the minutes are used up, or the validation stops improving.

    An epoch in Keras's sense is the steps between two validations. A training that was killed goes
    on at its last validation.

    Args:
        trainer: As `compile_model` returns it.
        train_files: Globs of triplets.
        validation: Images that are not trained on, for the choice of the best weights.
        transform_images: Encoded images to pixels.
        batch_size: Images in a batch of triplets.
        distractors: More images to search in; see `RetrievalValidation`.
        earlier: Embeddings by the model that this one is to be compatible with.
        log_dir: For TensorBoard and `training.json`; see `Report`.
        checkpoints: Folder that a later attempt at the same training finds again.

    Returns:
        The best weights, and the checkpoints, to be deleted when the model is safe.

    Raises:
        TrainingFailedError: See `FailureGuard`.
        ValueError: There is nothing to train on or to validate with.
    """
    settings, strategy = trainer.settings, trainer.distribute_strategy
    place, from_chief = find_place(strategy), FromChief(strategy)
    pace, best = Pace(trainer), BestWeights(settings.patience)
    guard = FailureGuard(settings, len(validation.ids))
    with TrainingProgress(pace) as progress:
        report = Report(trainer, pace, best, progress.note)
        memories: dict[str, Resumable] = {
            "pace": pace, "guard": guard, "best": best, "report": report
        }  # fmt: skip
        saved = None
        if settings.resume:
            saved = Checkpoints(checkpoints, trainer, memories, writes=place.is_chief)
        if saved and saved.restore():
            report.resumed()
            progress.note(f"Goes on at step {pace.done} of an earlier attempt ({checkpoints}).")
        _check_same_start(pace.done, from_chief, checkpoints)
        if not (best.finished or pace.finished):
            of_classes = settings.classes_per_batch * settings.images_per_class
            batch_images = batch_size if settings.batches == "triplets" else of_classes
            replicas = strategy.num_replicas_in_sync
            batches: Any = training_batches(
                train_files,
                transform_images,
                settings,
                batch_size,
                pace.done,
                replicas=replicas,
                share=place.share,
                scratch=None if "://" in log_dir else log_dir,
                beside=earlier,
            )
            if place.share is not None:
                own = batches
                batches = strategy.distribute_datasets_from_function(lambda _: own)
            trainer.fit(
                batches,
                steps_per_epoch=WITHOUT_END,
                initial_epoch=pace.stretches,
                epochs=WITHOUT_END,
                shuffle=False,  # the input has done it
                verbose=0,
                callbacks=[
                    BatchStatistics(
                        labelled_images(train_files, MOST_BATCHES * batch_images).images,
                        max(1, batch_images // replicas),
                        transform_images,
                        progress.note,
                    ),
                    *_of_chief(
                        place,
                        RetrievalValidation(
                            validation, transform_images, f"{log_dir}/validation", distractors
                        ),
                    ),
                    SameFigures(from_chief),
                    pace,
                    best,
                    guard,
                    *_of_chief(place, keras.callbacks.TensorBoard(log_dir, histogram_freq=1)),
                    progress,
                    report,
                    *([saved] if saved else []),
                ],
            )
        if place.share is not None:
            progress.note(
                f"Worker {place.number}: {pace.done} steps, weights "
                f"{weights_fingerprint(trainer)}; they are the same on all workers."
            )
        if place.is_chief:
            report.write(log_dir)
    return best, saved


def _of_chief(place: Place, callback: keras.callbacks.Callback) -> list[keras.callbacks.Callback]:
    return [callback] if place.is_chief else []


def _check_same_start(done: int, from_chief: FromChief, checkpoints: str) -> None:
    """Checks that this worker begins at the step of the chief.

    Raises:
        ValueError: It does not: they would embed parts of different batches.
    """
    of_chief = from_chief({"done": done})["done"]
    if done != of_chief:
        raise ValueError(
            f"This worker begins at step {done} and the chief at step {of_chief:g}, so they do not "
            f"see the same checkpoint in {checkpoints}. Mount the same storage on all workers; a "
            "new try may find it."
        )


def training_batches(
    train_files: list[str],
    transform_images: TransformImages,
    settings: TrainingSettings,
    batch_size: int,
    skip: int = 0,
    *,
    replicas: int = 1,
    share: Share | None = None,
    scratch: str | None = None,
    beside: LookUp | None = None,
) -> tf.data.Dataset:
    """The batches that the settings ask for: of triplets, or of classes with several images each.

    Every replica embeds an equal share of a batch (`tf.distribute` and Keras need it so).

    Args:
        train_files: Globs of TripletGen's files.
        transform_images: Encoded images to pixels.
        settings: `batches`, `mining`, `seed`, how many pixels may be kept, and the sizes for
            classes.
        batch_size: Images in a batch of triplets.
        skip: How many batches to leave out at the start.
        replicas: How many share a batch.
        share: What of each batch is embedded here, on several machines.
        scratch: Local folder for decoded pixels; see `CacheLimits`.
        beside: Looks up what else there is of each image.

    Returns:
        An endless dataset of (pixels float32 [N, H, W, C], labels int64 [N]), and with `beside`
        what that gives.
    """
    cache = CacheLimits(
        settings.cache_megabytes * 2**20, settings.disk_cache_megabytes * 2**20, scratch
    )
    if settings.batches == "classes":
        return class_batches(
            train_files, transform_images, settings.classes_per_batch, settings.images_per_class,
            settings.seed,
            skip=skip, cache=cache, multiple=replicas, beside=beside, share=share,
        )  # fmt: skip
    if settings.mining == "none":
        # As many triplets as every replica can have an equal share of.
        count = max(replicas, batch_size // 3 // replicas * replicas)
        return triplet_batches(
            train_files, transform_images, count, settings.seed, skip=skip, cache=cache,
            beside=beside, share=share,
        )  # fmt: skip
    return neighbour_batches(
        train_files, transform_images, batch_size, settings.seed,
        skip=skip, cache=cache, multiple=replicas, beside=beside, share=share,
    )  # fmt: skip
