"""The module_file of TFX Trainer: `run_fn` trains an embedding and exports it.

As a program, `python -m modules.trainer`, it is one of several workers; see `modules.workers`.
"""

from __future__ import annotations

import tempfile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from modules.batches import count_classes, validation_images
from modules.contract import IMAGE
from modules.export import (
    EmbeddingModule,
    comparison_batches,
    export_tflite,
    extra_assets,
    write_pictures,
)
from modules.images import transformed_image
from modules.models import (
    build_embedding_model,
    compile_embedding,
    embed_in_batches,
    find_input_range,
    load_weights,
    plain_weights,
)
from modules.settings import (
    ExportSettings,
    ImageTable,
    ModelSettings,
    TrainingSettings,
    read_table,
)
from modules.training import (
    checkpoint_folder,
    choose,
    compile_model,
    embed_by_earlier,
    files_state,
    find_place,
    fit,
    make_strategy,
    prepare_learning,
    read_code_fingerprint,
    write_choices,
)
from modules.workers import run_worker, train_on_workers

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def run_fn(fn_args: FnArgs) -> None:
    """Trains and exports (called by TFX Trainer; see `tfx.components.Trainer`).

    Args:
        fn_args: `train_files` are TripletGen's triplets, `eval_files` its validation part,
            `transform_output` the transform graph, `train_steps` the number of steps (0: as
            `custom_config` says), `base_model` (optional) an earlier SavedModel: to start
            from, unless `warm_start` of `custom_config` is false, and to stay compatible with,
            where `training.compatibility_weight` asks for it.
            `custom_config` holds the tables `model`, `training` and `export` of
            `modules.settings`, and `code_fingerprint`, which keeps checkpoints of other code apart
            (`weights_fingerprint`, `preset_fingerprint` and `own_code_fingerprint`, if there, do so
            for the file of `model.weights`, the folder of `model.preset`, and a loss or miner of
            one's own). The model goes to `serving_model_dir`. TensorBoard's files, `choices.json`
            (what was chosen and why) and `training.json` (what became of it) go to
            `model_run_dir`, checkpoints beside it until
            training is done. With `training.workers` that many processes train, and this one
            only watches over them.

    Raises:
        TrainingFailedError: NaN or a collapsed embedding; nothing is exported then.
        WarmStartError: `base_model` is another network.
        TFLiteError: The TFLite models differ from the network; nothing is exported then.
        WorkerFailedError: Any of these, if a worker met it.
        WorkerLostError: A worker is gone.
        ValueError: No triplets, a table is missing, or a setting makes no sense.
    """
    training = read_table(fn_args.custom_config, "training", TrainingSettings)
    if training.workers is None:
        _train(fn_args)
    else:
        arguments = {name: getattr(fn_args, name) for name in _TAKEN}
        train_on_workers(arguments, training.workers, fn_args.model_run_dir)


# Of TFX's FnArgs.
_TAKEN = (
    "train_files", "eval_files", "train_steps", "transform_output", "serving_model_dir",
    "model_run_dir", "base_model", "custom_config",
)  # fmt: skip


def _train(fn_args: FnArgs) -> None:
    """Trains in this process, on several machines as one of them; the chief exports."""
    model = read_table(fn_args.custom_config, "model", ModelSettings)
    training = read_table(fn_args.custom_config, "training", TrainingSettings)
    export = read_table(fn_args.custom_config, "export", ExportSettings)
    background = ImageTable(**fn_args.custom_config.get("image", {})).background
    code_fingerprint = read_code_fingerprint(fn_args.custom_config)
    if fn_args.train_steps:
        training = training.model_copy(update={"steps": fn_args.train_steps})
    keras.utils.set_random_seed(training.seed)
    strategy = make_strategy(training.distribution)  # first: with several machines it must be
    chief = find_place(strategy).is_chief

    transform_output = tft.TFTransformOutput(fn_args.transform_output)
    image = transformed_image(transform_output)
    classes = count_classes(fn_args.train_files)
    steps, batch_size, choices = choose(training, image, classes.values())
    if chief:
        write_choices(fn_args.model_run_dir, choices)
    transform = transform_output.transform_features_layer()

    # One graph for all that call it: to write it out for each again would take longer than it runs.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def transform_images(encoded: tf.Tensor) -> tf.Tensor:
        return transform({IMAGE: encoded[:, tf.newaxis]})[IMAGE]

    pixels = find_input_range(transform, image, model)
    checkpoints = checkpoint_folder(
        fn_args.model_run_dir, code_fingerprint,
        *(table.model_dump(mode="json") for table in (image, model, training)),
        fn_args.custom_config.get("own_code_fingerprint"),
        fn_args.custom_config.get("weights_fingerprint"),
        fn_args.custom_config.get("preset_fingerprint"), steps, fn_args.transform_output,
        fn_args.base_model, fn_args.custom_config.get("warm_start"),
        files_state([*fn_args.train_files, *fn_args.eval_files]),
    )  # fmt: skip
    validation, distractors = validation_images(fn_args.train_files, fn_args.eval_files)
    with tempfile.TemporaryDirectory() as folder:
        with strategy.scope():
            embedder = build_embedding_model(model, image, training.precision, pixels)
            if fn_args.base_model and fn_args.custom_config.get("warm_start", True):
                load_weights(embedder, fn_args.base_model)
            learning = prepare_learning(
                embedder, model, training, transform_images, fn_args.train_files,
                validation.images, folder,
            )  # fmt: skip
            trainer = compile_model(learning.network, training, steps, model, np.array([*classes]))
        earlier = None
        if fn_args.base_model and training.compatibility_weight:
            earlier = embed_by_earlier(
                fn_args.base_model, fn_args.train_files, model.embedding_size,
                training.cache_megabytes * 2**20, folder,
            )  # fmt: skip
        for note in (learning.note, earlier and earlier.note):
            if note:
                print(note, flush=True)  # noqa: T201
        best, saved = fit(
            trainer, fn_args.train_files, validation, learning.take_images, batch_size,
            log_dir=fn_args.model_run_dir, checkpoints=checkpoints, distractors=distractors,
            earlier=earlier and earlier.look_up,
        )  # fmt: skip
        best.give_to(learning.network)
    if not chief:
        return

    # Served in float32 whatever it was trained in: the variables are float32 in every precision.
    served = build_embedding_model(model, image, pixels=pixels)
    served.set_weights(plain_weights(embedder))
    if export.tflite:
        compared = comparison_batches(validation.images, transform_images)
        folder = extra_assets(fn_args.serving_model_dir)
        export_tflite(served, folder, compared, export, pixels, image)
    EmbeddingModule(served, transform).save(fn_args.serving_model_dir)
    if training.projector:
        embeddings = embed_in_batches(
            compile_embedding(served, transform_images), validation.images
        )
        write_pictures(
            fn_args.model_run_dir, embeddings, validation.labels, validation.images,
            validation.ids, training.seed, background,
        )  # fmt: skip
    if saved:
        saved.delete()


def _train_as_worker(arguments: dict[str, Any]) -> None:
    _train(cast("FnArgs", SimpleNamespace(**arguments)))


if __name__ == "__main__":
    run_worker(_train_as_worker)
