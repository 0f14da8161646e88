"""The map from a new model's space to an old one's: orthogonal, so it keeps all distances.

Schönemann 1966, "A generalized solution of the orthogonal Procrustes problem". Of all orthogonal
matrices R it is the one with the smallest Σ ‖new_i R − old_i‖².
"""

from __future__ import annotations

import io

import numpy as np

from modules.storage import read_bytes


def learn_map(new: np.ndarray, old: np.ndarray) -> np.ndarray | None:
    """Learns the map from embeddings of the same images by both models.

    Args:
        new: float32 [N, D], of the new model.
        old: float32 [N, D], of the old one, row by row of the same images.

    Returns:
        float32 [D, D]: `new @ map` is in the old model's space. None without a row that is finite
        in both.
    """
    from scipy.linalg import orthogonal_procrustes

    finite = np.isfinite(new).all(axis=1) & np.isfinite(old).all(axis=1)
    if not finite.any():
        return None
    found, _ = orthogonal_procrustes(new[finite].astype(np.float64), old[finite].astype(np.float64))
    return found.astype(np.float32)


def map_bytes(of_map: np.ndarray) -> bytes:
    """The map as the bytes of an `.npy` file."""
    buffer = io.BytesIO()
    np.save(buffer, of_map)
    return buffer.getvalue()


def read_map(path: str) -> np.ndarray:
    """Reads a map, float32 [D, D].

    Raises:
        OSError: There is no such file.
    """
    return np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
