"""Embeddings of the rows of a bucket by a model of an earlier run."""

from __future__ import annotations

import numpy as np

from components.triplet_gen.rows import Rows
from components.triplet_gen.statistics import OutputStats
from modules.models import Embedder, UnreadableImageError


def embed_rows(embedder: Embedder, rows: Rows, result: OutputStats) -> np.ndarray:
    """Embeds rows, and notes in `result` what cannot be used.

    Args:
        embedder: The model.
        rows: At least one.
        result: Its `unusable` stays 0 if all embeddings are good.

    Returns:
        float32 `[rows, D]`; of no use if some are not good.
    """
    try:
        embeddings = embedder(rows.images.tolist())
    except UnreadableImageError as error:
        result.unusable = 1
        result.unusable_example = f"{_show(rows.ids[error.number])}: {error.reason}"
        return np.zeros((len(rows.ids), 0), np.float32)
    broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
    if len(broken):
        result.unusable = len(broken)
        result.unusable_example = f"{_show(rows.ids[broken[0]])}: not finite"
    return embeddings


def _show(example_id: bytes) -> str:
    return repr(example_id.decode(errors="replace"))
