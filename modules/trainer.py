"""The triplet `module_file` of TFX Trainer: `run_fn` trains an embedding and exports it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from modules.batches import LabelledImages, TransformImages, anchor_images
from modules.contract import IMAGE
from modules.export import (
    MAX_COMPARED,
    EmbeddingModule,
    export_tflite,
    extra_assets,
    write_projector,
    write_tsne,
)
from modules.images import PixelRange, find_pixel_range
from modules.models import build_embedding_model, load_weights
from modules.settings import (
    ExportSettings,
    ImageSettings,
    ModelSettings,
    TrainingSettings,
    from_custom_config,
)
from modules.training import compile_embedding, compile_model, fit, make_strategy, stable_folder

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs

_COMPARED_AT_ONCE = 50  # images


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
        trainer = compile_model(embedder, training, steps, model)
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
        images = validation.images[:MAX_COMPARED]
        compared = (
            transform_images(tf.constant(part)).numpy()
            for part in np.array_split(images, math.ceil(len(images) / _COMPARED_AT_ONCE))
        )
        export_tflite(served, extra_assets(fn_args.serving_model_dir), compared, export, pixels)
    EmbeddingModule(served, transform).save(fn_args.serving_model_dir)
    if training.projector:
        _draw(served, validation, transform_images, fn_args.model_run_dir, training.seed)
    if saved:
        saved.delete()


def _pixel_range(
    transform: keras.layers.Layer, image: ImageSettings, model: ModelSettings
) -> PixelRange | None:
    """What black and white become; a network without pre-trained weights need not know."""
    try:
        return find_pixel_range(transform, image)
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
