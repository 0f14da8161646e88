"""The triplet `module_file` of TFX Trainer: `run_fn` trains an embedding and exports it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import keras
import tensorflow as tf
import tensorflow_transform as tft

from modules.callbacks import (
    BestWeights,
    FailureGuard,
    RetrievalValidation,
    TrainingProgress,
    compile_embedding,
)
from modules.checkpoints import Checkpoints, stable_folder
from modules.class_batches import class_batches
from modules.contract import IMAGE
from modules.export import EmbeddingModule
from modules.input_data import LabelledImages, anchor_images, triplet_batches
from modules.models import backbone_variables, build_embedding_model
from modules.optimizers import make_optimizer
from modules.pixels import PixelRange, pixel_range
from modules.projector import write_projector, write_tsne
from modules.settings import (
    ExportSettings,
    ImageSettings,
    ModelSettings,
    TrainingSettings,
    from_custom_config,
)
from modules.tflite_export import MAX_COMPARED, export_tflite, extra_assets
from modules.training import TripletTrainer
from modules.warm_start import load_weights

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

TransformImages = Callable[[tf.Tensor], tf.Tensor]  # encoded, string [N], to pixels [N, H, W, C]


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports (called by TFX Trainer; see `tfx.components.Trainer`).

    Args:
        fn_args: `train_files` and `eval_files` are the triplets, `transform_output` the transform
            graph, `custom_config` the tables of `modules.settings`, `train_steps` the number of
            steps, `base_model` (optional) the SavedModel to start from. The model goes to
            `serving_model_dir`, TensorBoard's files to `model_run_dir`, checkpoints beside it until
            training is done.

    Raises:
        TrainingFailedError: NaN or a collapsed embedding; nothing is exported then.
        WarmStartError: `base_model` is another network.
        TFLiteError: The TFLite models differ from the network; nothing is exported then.
        ValueError: No triplets, or a setting makes no sense.
    """
    image, model, training, export = (
        from_custom_config(kind, fn_args.custom_config)
        for kind in (ImageSettings, ModelSettings, TrainingSettings, ExportSettings)
    )
    steps = fn_args.train_steps or training.steps
    keras.utils.set_random_seed(training.seed)

    transform = tft.TFTransformOutput(fn_args.transform_output).transform_features_layer()

    def transform_images(encoded: tf.Tensor) -> tf.Tensor:
        return transform({IMAGE: encoded[:, tf.newaxis]})[IMAGE]

    pixels = _pixel_range(transform, image, model)
    with make_strategy(training.distribution).scope():
        embedder = build_embedding_model(model, image, training.precision, pixels)
        if fn_args.base_model:
            load_weights(embedder, fn_args.base_model)
        trainer = compile_trainer(embedder, training, steps, model)
    checkpoints = stable_folder(
        fn_args.model_run_dir,
        *(table.model_dump(mode="json") for table in (image, model, training)),
        steps, fn_args.transform_output, fn_args.base_model, fn_args.train_files,
        fn_args.eval_files,
    )  # fmt: skip
    validation = anchor_images(fn_args.eval_files, training.validation_images)
    best, saved = fit(
        trainer, steps, fn_args.train_files, validation, transform_images,
        log_dir=fn_args.model_run_dir, checkpoints=checkpoints,
    )  # fmt: skip

    # Served in float32 whatever it was trained in: the variables are float32 in every precision.
    served = build_embedding_model(model, image, pixels=pixels)
    best.give_to(served)
    if export.tflite:
        folder = extra_assets(fn_args.serving_model_dir)
        compared = transform_images(tf.constant(validation.images[:MAX_COMPARED])).numpy()
        export_tflite(served, folder, compared, export, pixels)
    EmbeddingModule(served, transform).save(fn_args.serving_model_dir)
    if training.projector:
        _draw(served, validation, transform_images, fn_args.model_run_dir, training.seed)
    if saved:
        saved.delete()


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


def compile_trainer(
    embedder: keras.Model, settings: TrainingSettings, steps: int, model: ModelSettings
) -> TripletTrainer:
    """Puts the training step and the optimizer around a network (in the strategy's scope)."""
    trainer = TripletTrainer(embedder, settings)
    fine_tuned = model.trainable == "fine_tune"
    optimizer = make_optimizer(
        settings,
        steps,
        settings.precision,
        slow=backbone_variables(embedder) if fine_tuned else (),
        slow_factor=model.backbone_learning_rate_factor if fine_tuned else 1.0,
    )
    optimizer.build(embedder.trainable_variables)
    # XLA was measured at half the speed of plain TensorFlow on CPU for these networks.
    trainer.compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False)
    return trainer


def fit(
    trainer: TripletTrainer,
    steps: int,
    train_files: list[str],
    validation: LabelledImages,
    transform_images: TransformImages,
    *,
    log_dir: str,
    checkpoints: str,
) -> tuple[BestWeights, Checkpoints | None]:
    """Trains until the steps are used up or the eval split stops improving.

    An epoch in Keras's sense is the steps between two validations, so `steps` is rounded up to
    whole ones. A training that was killed goes on at its last validation.

    Args:
        trainer: As `compile_trainer` returns it.
        steps: Of the whole training.
        train_files: Globs of triplets.
        validation: Images of the eval split.
        transform_images: Encoded images to pixels.
        log_dir: For TensorBoard.
        checkpoints: Folder that a later attempt at the same training finds again.

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
            training_batches(train_files, transform_images, settings, done),
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
    skip: int = 0,
) -> tf.data.Dataset:
    """The batches that the mining needs: triplets, or classes with several images each."""
    if settings.mining == "none":
        return triplet_batches(
            train_files, transform_images, settings.batch_size, settings.seed, skip=skip
        )
    return class_batches(
        train_files,
        transform_images,
        settings.classes_per_batch,
        settings.images_per_class,
        settings.seed,
        skip=skip,
        cache_bytes=settings.cache_megabytes * 2**20,
    )


def _pixel_range(
    transform: keras.layers.Layer, image: ImageSettings, model: ModelSettings
) -> PixelRange | None:
    """What black and white become; a network without pre-trained weights need not know."""
    try:
        return pixel_range(transform, image)
    except ValueError:
        if model.weights != "none":
            raise
        return None


def _draw(
    embedder: keras.Model,
    data: LabelledImages,
    transform_images: TransformImages,
    log_dir: str,
    seed: int,
) -> None:
    """TensorBoard's projector and a t-SNE picture of the eval split."""
    embeddings = compile_embedding(embedder, transform_images)(data.images)
    write_projector(f"{log_dir}/projector", embeddings, data.labels, data.images, data.ids)
    if len(embeddings) > 2:
        write_tsne(f"{log_dir}/tsne.png", embeddings, data.labels, seed)
