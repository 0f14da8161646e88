"""A gallery in shards, and a shard in tiles of one size, ready to be multiplied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

GALLERY_TILE = 512  # rows of a gallery tile
MAX_POSITION = (1 << 31) - 1  # what a key has room for


@dataclass(frozen=True, eq=False)
class Shard:
    """A part of a gallery: all rows with ids in some range.

    Attributes:
        position: Of the first row; the others follow. At most `MAX_POSITION`; positions of all
            shards ascend as their ids do.
        ids: Object array [N] of bytes or str, ascending, unique.
        classes: int32 [N], one number per distinct label, 0 or above.
        embeddings: float32 [N, D] by model name.
        groups: int32 [N, C], 0 or above, see `modules.retrieval.groups`; None for no columns.
    """

    position: int
    ids: np.ndarray
    classes: np.ndarray
    embeddings: dict[str, np.ndarray]
    groups: np.ndarray | None = None

    def rows_of(self, ids: np.ndarray) -> np.ndarray:
        """Row of each of the ids, int64 [Q], −1 where this shard has no such id."""
        rows = np.full(len(ids), -1)
        near = np.flatnonzero((ids >= self.ids[0]) & (ids <= self.ids[-1]))
        found = np.searchsorted(self.ids, ids[near])
        here = self.ids[found] == ids[near]
        rows[near[here]] = found[here]
        return rows


def reject_repeated(ids: np.ndarray) -> None:
    """Checks that ids are unique.

    Args:
        ids: Object array, ascending.

    Raises:
        ValueError: An id occurs twice.
    """
    repeated = np.flatnonzero(ids[1:] == ids[:-1])
    if repeated.size:
        raise ValueError(
            f"id {ids[repeated[0]]!r} occurs more than once among the examples "
            f"({repeated.size} repetitions here): a query is told from its gallery by its id, so "
            "make the `id` feature unique"
        )


class GalleryTile:
    """Rows of a shard as one factor of a matrix product."""

    def __init__(
        self,
        position: int,
        classes: np.ndarray,
        embeddings: np.ndarray,
        groups: np.ndarray | None = None,
    ) -> None:
        self.position, self.classes, self.size = position, classes, len(classes)
        self.groups = [] if groups is None else list(groups.T)  # int32 [N] of each column
        squared_norms = np.einsum("nd,nd->n", embeddings, embeddings)
        # float32 [D + 1, GALLERY_TILE]: the embeddings as columns, and |g|² below them.
        self.factor = np.zeros((embeddings.shape[1] + 1, GALLERY_TILE), np.float32)
        self.factor[:-1, : self.size] = embeddings.T
        self.factor[-1, : self.size] = squared_norms


def tiles_of(shard: Shard, model: str) -> list[GalleryTile]:
    """Cuts one model's embeddings of a shard into tiles of `GALLERY_TILE` rows."""
    return [
        GalleryTile(
            shard.position + first,
            shard.classes[first : first + GALLERY_TILE],
            shard.embeddings[model][first : first + GALLERY_TILE],
            None if shard.groups is None else shard.groups[first : first + GALLERY_TILE],
        )
        for first in range(0, len(shard.classes), GALLERY_TILE)
    ]
