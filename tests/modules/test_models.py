"""The registry of embedding networks."""

from __future__ import annotations

from typing import get_args

import keras
import numpy as np
import pytest

from modules.models import BACKBONES, build_embedding_model
from modules.settings import ImageSettings, ModelSettings

IMAGE = ImageSettings(height=28, width=28, channels=1)


def test_every_configurable_name_is_registered() -> None:
    assert set(get_args(ModelSettings.model_fields["name"].annotation)) == set(BACKBONES)


@pytest.mark.parametrize("name", BACKBONES)
@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_embeddings_are_unit_vectors_in_float32(name: str, precision: str) -> None:
    model = build_embedding_model(ModelSettings(name=name, embedding_size=16), IMAGE, precision)
    embeddings = keras.ops.convert_to_numpy(model(np.random.default_rng(0).random((4, 28, 28, 1))))
    assert embeddings.dtype == np.float32
    assert embeddings.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_the_policy_of_the_process_is_left_alone() -> None:
    before = keras.config.dtype_policy().name
    build_embedding_model(ModelSettings(), IMAGE, "mixed_bfloat16")
    assert keras.config.dtype_policy().name == before


def test_an_all_zero_feature_vector_gives_no_nan() -> None:
    model = build_embedding_model(ModelSettings(), IMAGE)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    assert np.isfinite(model(np.zeros((1, 28, 28, 1)))).all()
