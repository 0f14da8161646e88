"""Labelled embeddings as they go from one Beam stage to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, eq=False)
class LabelledRows:
    """Some rows of a query set or a gallery, in any order.

    Attributes:
        ids: Object array [B] of bytes or str, unique in the whole set.
        labels: Object array [B] of bytes or str.
        embeddings: float32 [B, D] by model name.
        features: Arrays [B, …] by name, handed through with the scores of queries.
    """

    ids: np.ndarray
    labels: np.ndarray
    embeddings: dict[str, np.ndarray]
    features: dict[str, np.ndarray] = field(default_factory=dict)

    def take(self, rows: np.ndarray | slice) -> LabelledRows:
        """Some of the rows."""
        return LabelledRows(
            self.ids[rows],
            self.labels[rows],
            {name: values[rows] for name, values in self.embeddings.items()},
            {name: values[rows] for name, values in self.features.items()},
        )


@dataclass(frozen=True, eq=False)
class QueryRows:
    """A block of queries and what the gallery says of their labels.

    Attributes:
        rows: Ordered by id.
        classes: int32 [Q], one number per distinct label of the gallery; −1 if it lacks the label.
        members: int64 [Q], how many rows of the gallery have the label.
        groups: int32 [Q, C], see `modules.retrieval.groups`.
    """

    rows: LabelledRows
    classes: np.ndarray
    members: np.ndarray
    groups: np.ndarray


def concatenate(parts: Sequence[LabelledRows]) -> LabelledRows:
    """Rows of several parts with the same models and features."""
    if len(parts) == 1:
        return parts[0]
    return LabelledRows(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        _joined([part.embeddings for part in parts]),
        _joined([part.features for part in parts]),
    )


def concatenate_queries(blocks: Sequence[QueryRows]) -> QueryRows:
    """Several blocks as one."""
    return QueryRows(
        concatenate([block.rows for block in blocks]),
        np.concatenate([block.classes for block in blocks]),
        np.concatenate([block.members for block in blocks]),
        np.concatenate([block.groups for block in blocks]),
    )


def _joined(parts: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
