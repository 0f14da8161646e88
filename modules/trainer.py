"""The triplet `module_file` of TFX Trainer: `run_fn` trains an embedding and exports it."""

from __future__ import annotations

import math

import keras
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from modules.callbacks import FailureGuard, RetrievalValidation, TrainingProgress
from modules.contract import IMAGE
from modules.export import EmbeddingModule
from modules.input_data import anchor_images, triplet_batches
from modules.models import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings, from_custom_config
from modules.training import TripletTrainer


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports (called by TFX Trainer; see `tfx.components.Trainer`).

    Args:
        fn_args: `train_files` and `eval_files` are the triplets, `transform_output` the transform
            graph, `custom_config` the tables of `modules.settings`, `train_steps` the number of
            steps. The model goes to `serving_model_dir`, TensorBoard logs to `model_run_dir`.

    Raises:
        TrainingFailedError: NaN or a collapsed embedding; nothing is exported then.
        ValueError: No triplets.
    """
    image = from_custom_config(ImageSettings, fn_args.custom_config)
    model = from_custom_config(ModelSettings, fn_args.custom_config)
    training = from_custom_config(TrainingSettings, fn_args.custom_config)
    keras.utils.set_random_seed(training.seed)

    transform = tft.TFTransformOutput(fn_args.transform_output).transform_features_layer()
    embedder = build_embedding_model(model, image, training.precision)
    fit(TripletTrainer(embedder, training), fn_args, transform, training)

    # Served in float32 whatever it was trained in: the variables are float32 in every precision.
    served = build_embedding_model(model, image)
    served.set_weights(embedder.get_weights())
    EmbeddingModule(served, transform).save(fn_args.serving_model_dir)


def fit(
    trainer: TripletTrainer,
    fn_args: FnArgs,
    transform: keras.layers.Layer,
    settings: TrainingSettings,
) -> keras.callbacks.History:
    """Trains until the steps are used up or the eval split stops improving.

    The weights of the best validation are restored. An epoch in Keras's sense is the steps between
    two validations, so `steps` is rounded up to whole ones.
    """
    steps = fn_args.train_steps or settings.steps
    every = min(steps, settings.validate_every)
    epochs = math.ceil(steps / every)
    rate: float | keras.optimizers.schedules.LearningRateSchedule = settings.learning_rate
    if settings.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, decay_steps=steps)
    # XLA was measured at half the speed of plain TensorFlow on CPU for these networks.
    trainer.compile(optimizer=keras.optimizers.Adam(rate), jit_compile=False)

    def transform_images(encoded: tf.Tensor) -> tf.Tensor:
        return transform({IMAGE: encoded[:, tf.newaxis]})[IMAGE]

    eval_images = anchor_images(fn_args.eval_files, settings.validation_images)
    batches = triplet_batches(
        fn_args.train_files, transform_images, settings.batch_size, settings.seed
    )
    with TrainingProgress(every * epochs) as progress:
        return trainer.fit(
            batches,
            steps_per_epoch=every,
            epochs=epochs,
            shuffle=False,  # the input has done it
            verbose=0,
            callbacks=[
                FailureGuard(),
                RetrievalValidation(eval_images, transform_images),
                keras.callbacks.EarlyStopping(
                    "val_map@r", mode="max", patience=settings.patience, restore_best_weights=True
                ),
                keras.callbacks.TensorBoard(fn_args.model_run_dir, update_freq=every),
                progress,
            ],
        )
