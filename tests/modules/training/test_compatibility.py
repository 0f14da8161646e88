"""A training that stays compatible with an earlier model."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from modules.batches import FeatureCache
from modules.batches.reading import fingerprint, labelled_images
from modules.export.saved_model import EmbeddingModule
from modules.models.embedding_network import build_embedding_model
from modules.retrieval import make_gallery, score_against
from modules.settings import ModelSettings
from modules.training import embed_by_earlier
from modules.training.fitting import training_batches
from tests.modules.training.training_runs import IMAGE, Run, pixels

NORMALISED = ModelSettings(embedding_size=16)
SIZES = {"classes_per_batch": 96, "images_per_class": 4}  # as by default: triplets have none


class Pixels(keras.layers.Layer):
    """A transform graph without statistics."""

    def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        return {"image": pixels(tf.reshape(inputs["image"], [-1]))}


@pytest.fixture(scope="module")
def old(tmp_path_factory) -> str:
    """The SavedModel of a short training."""
    run = Run(tmp_path_factory.mktemp("old"), NORMALISED, seed=5)
    trainer, best = run.fit()
    best.give_to(trainer.embedder)
    served = build_embedding_model(NORMALISED, IMAGE)
    served.set_weights(trainer.embedder.get_weights())
    path = str(run.folder / "model")
    EmbeddingModule(served, Pixels()).save(path)
    return path


def embeddings_of(model: str, images: np.ndarray) -> np.ndarray:
    loaded = tf.saved_model.load(model)
    return loaded.signatures["images"](images=tf.constant(images, tf.string))["embedding"].numpy()


def test_new_queries_stay_at_home_in_the_old_vectors(old, tmp_path) -> None:
    """Of two trainings alike, the one with the loss finds more of the old model's vectors."""
    every = labelled_images([f"{Run(tmp_path / 'with').files[0]}"])
    vectors = embeddings_of(old, every.images)
    gallery = make_gallery(every.ids, every.labels, vectors)
    found = {}
    for name, weight in (("with", 1.0), ("without", 0.0)):
        run = Run(tmp_path / name, NORMALISED, compatibility_weight=weight)
        earlier = embed_by_earlier(old, run.files, 16, 2**20, str(run.folder))
        trainer, best = run.fit(earlier=earlier.look_up if weight else None)
        best.give_to(trainer.embedder)
        new = trainer.embedder.predict(pixels(tf.constant(every.images, tf.string)), verbose=0)
        queries = make_gallery(every.ids, every.labels, new)
        found[name] = np.mean(score_against(queries, gallery, [1])["precision@1"])
        assert ("compatibility" in trainer.trackers) == bool(weight)
    assert found["with"] > found["without"] + 0.2


def test_the_earlier_model_sees_every_image_as_it_is(old, tmp_path) -> None:
    run = Run(tmp_path)
    every = labelled_images(run.files)
    earlier = embed_by_earlier(old, run.files, 16, 0, str(tmp_path))  # in a file
    keys = fingerprint(tf.constant(every.images, tf.string))
    expected = embeddings_of(old, every.images)
    np.testing.assert_allclose(earlier.look_up(keys), expected, atol=1e-5)
    assert earlier.note.startswith("180 images embedded by the last blessed model")
    (tmp_path / "again").mkdir()
    with pytest.raises(ValueError, match=r"embedding has 16 dimensions, and .* is 8: there is"):
        embed_by_earlier(old, run.files, 8, 0, str(tmp_path / "again"))


@pytest.mark.parametrize("megabytes", [0, 100], ids=["decoded each time", "decoded once"])
@pytest.mark.parametrize("mining", [None, "none", "semi_hard"], ids=["classes", "given", "walked"])
def test_what_is_looked_up_belongs_to_the_image(tmp_path: Path, megabytes, mining) -> None:
    of_triplets = {"batches": "triplets", "mining": mining, **SIZES} if mining else {}
    run = Run(tmp_path, cache_megabytes=megabytes, disk_cache_megabytes=0, **of_triplets)
    known = FeatureCache(
        run.files,
        np.empty(0, object),
        lambda images: tf.reshape(pixels(images), [len(images), -1]),
        str(tmp_path),
        2**30,
    )
    batches = training_batches(run.files, pixels, run.settings, 60, beside=known.of_keys)
    for images, labels, beside in batches.take(2):
        assert len(images) == len(labels) == len(beside) > 0
        np.testing.assert_array_equal(tf.reshape(images, beside.shape), beside)
