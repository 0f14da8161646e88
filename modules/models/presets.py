"""Pre-trained backbones of KerasHub, by preset: loaded as they were saved, with their own input.

KerasHub is imported where a preset is used and nowhere else. The exported network needs it as
little as any other.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from modules.models.standard import Standard, WeightsError
from modules.settings import PRESET, ModelSettings

_FAMILIES = ("DINOV2Backbone", "DINOV3Backbone", "ViTBackbone", "SigLIPBackbone")
_DOWNLOADED = ("hf://", "kaggle://")


class Preset(NamedTuple):
    """A backbone and how it expects its input.

    Attributes:
        network: From pixels, [N, H, W, 3] of the size it was trained with, to features, [N, F].
        standard: Of its pixels.
    """

    network: keras.Model
    standard: Standard


def load_preset(model: ModelSettings) -> Preset:
    """Loads the backbone of `model.preset`, in the dtype policy of the process.

    Its features are those that its authors compare images by: the first token (DINOv2, DINOv3, ViT;
    the mean of the tokens where there is no such one), or what the attention pooling of the image
    tower gives (SigLIP, SigLIP 2).

    Args:
        model: With a `preset`: a folder (also `gs://…`, which is copied down first) with
            `config.json`, `image_converter.json` and `model.weights.h5`, or a handle `hf://…` or
            `kaggle://…`, which KerasHub downloads once. Without `weights = "preset"` its weights
            are random.

    Returns:
        The network and the standard of its pixels.

    Raises:
        WeightsError: There is no such preset, it is of another kind, or the download failed.
    """
    handle = str(model.preset)
    with _local(handle) as place:
        try:
            import keras_hub

            tower = keras_hub.models.Backbone.from_preset(
                place,
                load_weights=model.weights == PRESET,
                dtype=keras.config.dtype_policy().name,
            )
            converter = keras_hub.layers.ImageConverter.from_preset(place)
        except Exception as error:  # each hub has errors of its own
            reason = " ".join(str(error).split())[:300]
            raise WeightsError(
                f"model.preset: {handle} cannot be loaded as an image backbone of KerasHub with "
                f"its image converter ({reason}). Known are DINOv2, DINOv3, ViT and SigLIP. "
                "Without internet, download the preset elsewhere and set model.preset to its "
                "folder."
            ) from error
    family = type(tower).__name__
    if family not in _FAMILIES:
        raise WeightsError(
            f"model.preset: {handle} is a {family}; known are {', '.join(_FAMILIES)}."
        )
    # Of two towers, that of images; the other one is not kept.
    if hasattr(tower, "vision_encoder"):
        tower = _in_policy_of_process(tower.vision_encoder)
    inputs = keras.Input(tower.image_shape)
    named = isinstance(tower.input, dict)
    x = tower({next(iter(tower.input)): inputs} if named else inputs)
    if len(x.shape) == 3:
        first = getattr(tower, "use_class_token", True)
        x = x[:, 0] if first else keras.layers.GlobalAveragePooling1D()(x)
    return Preset(keras.Model(inputs, x, name=tower.name), _standard_of(converter))


def _in_policy_of_process(tower: Any) -> Any:
    """KerasHub builds the towers of a pair as they were saved, whatever dtype it is given."""
    policy = keras.config.dtype_policy().name
    if tower.dtype_policy.name == policy:
        return tower
    copy = type(tower).from_config(tower.get_config() | {"dtype": policy})
    copy.set_weights(tower.get_weights())
    return copy


def tower_of(network: keras.Model) -> Any:
    """The backbone of KerasHub in the network of a preset."""
    return next(layer for layer in network.layers if hasattr(layer, "default_lora_layer_names"))


def _standard_of(converter: Any) -> Standard:
    """KerasHub writes p · scale + offset for a pixel p in 0…255."""
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    scale, offset = np.broadcast_to(scale, 3), np.broadcast_to(offset, 3)
    return Standard(tuple((-offset / (255 * scale)).tolist()), tuple((1 / (255 * scale)).tolist()))


@contextlib.contextmanager
def _local(handle: str) -> Iterator[str]:
    """The folder of a preset on this machine, or the handle of what KerasHub downloads."""
    if handle.startswith(_DOWNLOADED):
        yield handle
        return
    if not tf.io.gfile.exists(f"{handle}/config.json"):
        raise WeightsError(
            f"model.preset: there is no preset in {handle}: it has no config.json. Give the folder "
            "of a preset of KerasHub, or a handle such as hf://keras/dinov2_small."
        )
    if "://" not in handle:
        yield handle
        return
    with tempfile.TemporaryDirectory() as folder:
        for root, _, files in tf.io.gfile.walk(handle):
            below = Path(folder, root.removeprefix(handle).strip("/"))
            below.mkdir(parents=True, exist_ok=True)
            for name in files:
                tf.io.gfile.copy(f"{root.rstrip('/')}/{name}", str(below / name))
        yield folder
