"""Whole trainings on real digits, without TFX: what several tests of the Trainer share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from modules.batches.pools import LookUp
from modules.batches.reading import LabelledImages, TransformImages, count_classes, labelled_images
from modules.images import decode_images
from modules.models.embedding_network import build_embedding_model
from modules.settings import ImageSettings, ModelSettings, TrainingSettings
from modules.training.callbacks import BestWeights
from modules.training.fitting import compile_model, fit
from modules.training.triplet_model import TripletModel
from tests.modules.batches.triplet_files import digit_shards

MODEL = ModelSettings(embedding_size=16, batch_norm=False)
IMAGE = ImageSettings()
# Without what is on by default: what a test is about, it adds.
PLAIN = {
    "rate_warmup_steps": 0, "max_shift": 0.0, "max_rotation": 0.0, "max_zoom": 0.0, "max_shear": 0.0
}  # fmt: skip
BASE = {
    "steps": 18,
    "validate_every": 6,
    "batches": "classes",
    "classes_per_batch": 20,
    "images_per_class": 3,
    "patience": 9,
    **PLAIN,
}


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    return (decode_images(encoded, IMAGE) - 0.13) / 0.31


class Run:
    """A training on 180 digits, validated on the same; files in `folder`."""

    def __init__(
        self,
        folder: Path,
        model: ModelSettings = MODEL,
        image: ImageSettings = IMAGE,
        **training: Any,
    ) -> None:
        self.folder, self.image = folder, image
        self.settings = TrainingSettings(**BASE | training)
        self.model = model
        shards = folder / "shards"
        if not shards.exists():
            shards.mkdir(parents=True)
            digit_shards(shards)
        self.files = [f"{shards}/*"]

    def trainer(self) -> TripletModel:
        """A new one, as a new process would build it."""
        keras.utils.set_random_seed(self.settings.seed)
        embedder = build_embedding_model(self.model, self.image, self.settings.precision)
        classes = np.array([*count_classes(self.files)])
        return compile_model(embedder, self.settings, self.settings.steps, self.model, classes)

    def fit(
        self,
        trainer: TripletModel | None = None,
        transform: TransformImages = pixels,
        distractors: LabelledImages | None = None,
        earlier: LookUp | None = None,
    ) -> tuple[TripletModel, BestWeights]:
        """Trains; checkpoints stay."""
        trainer = trainer or self.trainer()
        best, _ = fit(
            trainer,
            self.files,
            labelled_images(self.files, 60),
            transform,
            self.settings.batch_size or 60,
            distractors=distractors,
            earlier=earlier,
            log_dir=str(self.folder / "run"),
            checkpoints=str(self.folder / "checkpoints"),
        )
        return trainer, best
