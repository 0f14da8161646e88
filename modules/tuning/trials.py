"""One training of a search, and the list of those that were made."""

from __future__ import annotations

import contextlib
import gc
import io
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import keras
import keras_tuner
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft
from keras_tuner.engine import base_tuner

from modules.batches import LabelledImages, TransformImages, count_classes, validation_images
from modules.contract import IMAGE
from modules.images import transformed_image
from modules.models import build_embedding_model, find_input_range
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training import (
    TrainingFailedError,
    choose,
    compile_model,
    fit,
    make_strategy,
    prepare_learning,
)
from modules.tuning.halving import FAILED_SCORE, OBJECTIVE, Halving

# What may be wrong with a trial and right with the next one.
_FAULTS = (TrainingFailedError, ValueError, tf.errors.ResourceExhaustedError)
_SHORTEST_FIT = 1.0  # seconds


class TrialData(NamedTuple):
    """What trials train on and are scored by; nothing of it is of the eval split.

    Attributes:
        train_files: Globs of TripletGen's train part.
        validation: Its validation part.
        distractors: More images to search in, if that holds other classes.
        classes: Images of each class that is trained on.
    """

    train_files: list[str]
    validation: LabelledImages
    distractors: LabelledImages | None
    classes: dict[int, int]


class Trial(NamedTuple):
    """A trial that has ended.

    Attributes:
        number: From 1, in the order they ran.
        round: From 0; each trains longer than the one before.
        values: The point of the space.
        map_at_r: Of the validation part, at its best; nan if the trial failed.
        precision_at_1: Where MAP@R was best.
        seconds: That it took, building the network included.
        error: Why there are no scores.
    """

    number: int
    round: int
    values: dict[str, Any]
    map_at_r: float
    precision_at_1: float
    seconds: float
    error: str | None = None


def read_trial_data(train_files: list[str], validation_files: list[str]) -> TrialData:
    """Reads what all trials share, as the Trainer does.

    Raises:
        ValueError: There are no images.
    """
    return TrialData(
        train_files,
        *validation_images(train_files, validation_files),
        count_classes(train_files),
    )


def ranked(trials: list[Trial]) -> list[Trial]:
    """The trials that did not fail, best first.

    Of two rounds the later one counts, since its trials trained longer; then MAP@R; of equals the
    earlier one. A point that has trained twice is there once.
    """
    found: list[Trial] = []
    done = (trial for trial in trials if trial.error is None)
    for trial in sorted(done, key=lambda t: (-t.round, -t.map_at_r, t.number)):
        if all(trial.values != other.values for other in found):
            found.append(trial)
    return found


def train_trial(
    data: TrialData,
    transform_graph: str,
    model: ModelSettings,
    training: TrainingSettings,
    seconds: float,
) -> dict[str, float]:
    """Trains as the Trainer does, for so many seconds, without a word and without a model.

    Returns:
        `val_map@r` and `val_precision@1` of the best weights.

    Raises:
        TrainingFailedError: NaN, or a collapsed embedding.
        ValueError: The settings do not go together with the data or the time.
    """
    began = time.monotonic()
    keras.utils.clear_session()
    gc.collect()
    keras.utils.set_random_seed(training.seed)
    output = tft.TFTransformOutput(transform_graph)
    image = transformed_image(output)
    transform = output.transform_features_layer()

    def transform_images(encoded: tf.Tensor) -> tf.Tensor:
        return transform({IMAGE: encoded[:, tf.newaxis]})[IMAGE]

    with tempfile.TemporaryDirectory() as folder:
        with make_strategy(training.distribution).scope():
            pixels = find_input_range(transform, image, model)
            embedder = build_embedding_model(model, image, training.precision, pixels)
            learning = prepare_learning(
                embedder, model, training, transform_images, data.train_files,
                data.validation.images, folder,
            )  # fmt: skip
            minutes = max(_SHORTEST_FIT, seconds - (time.monotonic() - began)) / 60
            # The number of steps and of validations is that of a long training; here time decides.
            training = training.model_copy(
                update={
                    "steps": None,
                    "minutes": minutes,
                    "validate_every": None,
                    "resume": False,
                    # Few trials would live to see a second pass over as many images.
                    "disk_cache_megabytes": 0,
                }
            )
            trainer = compile_model(
                learning.network, training, None, model, np.array([*data.classes])
            )
        return _fit(trainer, data, learning.take_images, image, training)


def _fit(
    trainer: Any,
    data: TrialData,
    transform_images: TransformImages,
    image: ImageSettings,
    training: TrainingSettings,
) -> dict[str, float]:
    batch_size = choose(training, image, data.classes.values()).batch_size
    with (
        tempfile.TemporaryDirectory() as logs,
        contextlib.redirect_stdout(io.StringIO()),  # the search has a line for each trial
    ):
        best, _ = fit(
            trainer, data.train_files, data.validation, transform_images, batch_size,
            distractors=data.distractors, log_dir=logs, checkpoints=f"{logs}/checkpoints",
        )  # fmt: skip
    return best.scores


class Trials(base_tuner.BaseTuner):
    """KerasTuner's search loop around `train_trial`.

    Args:
        oracle: Says what to try.
        train: From the values of a trial and its seconds to the scores, see `train_trial`.
        directory: For KerasTuner's files.
        on_trial: Called with each trial that has ended.

    Attributes:
        ended: The trials so far.
    """

    def __init__(
        self,
        oracle: Halving,
        train: Callable[[Mapping[str, Any], float], dict[str, float]],
        directory: str,
        on_trial: Callable[[Trial], None],
    ) -> None:
        super().__init__(oracle, directory=directory, project_name="trials", overwrite=True)
        self._train = train
        self._on_trial = on_trial
        self.ended: list[Trial] = []

    def run_trial(self, trial: Any, **_: Any) -> dict[str, float]:
        """Trains once.

        Returns:
            The score; one below every other if it led to nothing.

        Raises:
            FatalRuntimeError: A fault that no other trial would mend; KerasTuner would go on after
                any other error.
        """
        turn, seconds = self.oracle.slots[trial.trial_id]
        values = trial.hyperparameters.values
        began = time.monotonic()
        nothing = {OBJECTIVE: float("nan"), "val_precision@1": float("nan")}
        scores, error = nothing, None
        try:
            scores = self._train(values, seconds)
        except _FAULTS as fault:
            error = str(fault)
        except Exception as fault:
            raise keras_tuner.errors.FatalRuntimeError(str(fault)) from fault
        ended = Trial(
            len(self.ended) + 1, turn, dict(values), scores[OBJECTIVE], scores["val_precision@1"],
            time.monotonic() - began, error,
        )  # fmt: skip
        self.ended.append(ended)
        self._on_trial(ended)
        return {OBJECTIVE: FAILED_SCORE if error else scores[OBJECTIVE]}
