"""Tiny presets of KerasHub with random weights, saved as real ones are."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from modules.images import IMAGENET_DEVIATION, IMAGENET_MEAN

FAMILIES = ("dinov2", "dinov2_registers", "dinov3", "vit", "siglip2")
SIDE = 28
_SHAPE = (SIDE, SIDE, 3)
_SMALL = {"patch_size": 14, "num_layers": 1, "hidden_dim": 8, "num_heads": 2}
_IMAGENET = {
    "scale": [1 / (255 * deviation) for deviation in IMAGENET_DEVIATION],
    "offset": [
        -mean / deviation for mean, deviation in zip(IMAGENET_MEAN, IMAGENET_DEVIATION, strict=True)
    ],
}
_MINUS_ONE_TO_ONE = {"scale": 1 / 127.5, "offset": -1}


def save_preset(family: str, folder: Path) -> str:
    """Writes one; returns its path."""
    from keras_hub import layers, models

    keras.utils.set_random_seed(0)
    options = _SMALL | {"image_shape": _SHAPE}
    if family.startswith("dinov2"):
        backbone = models.DINOV2Backbone(
            intermediate_dim=16,
            position_embedding_shape=(42, 42, 3),
            num_register_tokens=4 if "registers" in family else 0,
            **options,
        )
        converter = layers.DINOV2ImageConverter(image_size=(SIDE, SIDE), **_IMAGENET)
    elif family == "dinov3":
        backbone = models.DINOV3Backbone(intermediate_dim=16, **options)
        converter = layers.DINOV3ImageConverter(image_size=(SIDE, SIDE), **_IMAGENET)
    elif family == "vit":
        backbone = models.ViTBackbone(mlp_dim=16, **options)
        converter = layers.ViTImageConverter(image_size=(SIDE, SIDE), **_MINUS_ONE_TO_ONE)
    else:
        text = models.SigLIPTextEncoder(
            vocabulary_size=8, embedding_dim=8, hidden_dim=8, num_layers=1, num_heads=2,
            intermediate_dim=8,
        )  # fmt: skip
        vision = models.SigLIPVisionEncoder(intermediate_dim=16, **options)
        backbone = models.SigLIPBackbone(vision, text)
        converter = layers.SigLIPImageConverter(image_size=(SIDE, SIDE), **_MINUS_ONE_TO_ONE)
    # Random weights are so small that every image would look the same.
    rng = np.random.default_rng(0)
    backbone.set_weights(
        [w + rng.normal(0, 0.3, w.shape).astype(w.dtype) for w in backbone.get_weights()]
    )
    path = folder / family
    backbone.save_to_preset(str(path))
    converter.save_to_preset(str(path))
    return str(path)
