"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685): small matrices that learn beside weights.

The dense layers for queries and values of every attention get two matrices A and B, and compute
with W + A·B; W stays. At the end A·B is added to W, and nothing else of it remains.
"""

from __future__ import annotations

import keras
import numpy as np

from modules.models.embedding_network import backbone_of
from modules.models.presets import tower_of

# Those that KerasHub adapts by default, and their names in DINOv3.
_QUERIES_AND_VALUES = ("q_proj", "v_proj")
_MATRICES = ("lora_kernel_a", "lora_kernel_b")


def add_lora(embedder: keras.Model, rank: int) -> None:
    """Adds the matrices and freezes the rest of the backbone, but for biases of these layers.

    Args:
        embedder: Of a preset, from `build_embedding_model`; it already has the weights to start
            from. Its embeddings are as before, since B is 0 at first.
        rank: Columns of A.

    Raises:
        ValueError: No layer of the backbone can be adapted.
    """
    tower = tower_of(backbone_of(embedder))
    tower.enable_lora(rank, [*tower.default_lora_layer_names(), *_QUERIES_AND_VALUES])
    if not any(variable.path.endswith(_MATRICES) for variable in tower.trainable_variables):
        raise ValueError(
            f"trainable = 'lora': {type(tower).__name__} has no layer that can be adapted; set "
            "trainable = 'fine_tune'."
        )


def plain_weights(embedder: keras.Model) -> list[np.ndarray]:
    """The weights for the same network without the matrices, which are added to theirs.

    Args:
        embedder: Any network of `build_embedding_model`; without matrices its weights are returned.
    """
    merged = {
        id(layer._kernel): np.asarray(layer.kernel)
        for layer in embedder._flatten_layers()
        if getattr(layer, "lora_enabled", False)
    }
    return [
        merged.get(id(weight), weight.numpy())
        for weight in embedder.weights
        if not weight.path.endswith(_MATRICES)
    ]
