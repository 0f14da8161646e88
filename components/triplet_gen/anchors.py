"""How often each example is an anchor: a function of its id and label and the label counts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from components.triplet_gen.hashes import GROUP, RANK
from modules.settings import TripletSettings


class AnchorPlan:
    """Says how often each example of the train part is an anchor.

    With n_c examples of class c, m_c = min(n_c, max_per_class) of them are anchors: those with the
    greatest rank hashes, since the smallest are held out. Classes of one example have none. Each
    anchor gets t = `triplets_per_anchor` triplets. But under `class_balanced` C classes share T =
    t · Σ m_c, so an anchor expects q = T / (C · m_c): ⌊q⌋ for sure, and one more if its group hash,
    as a number in [0, 1), is below the rest. So each class gets about T / C, with a standard
    deviation of at most √(T / C), and whether an example does depends on the label counts and its
    own id only.
    """

    def __init__(
        self,
        label_counts: Mapping[bytes, int],
        highest: Mapping[bytes, np.ndarray],
        settings: TripletSettings,
    ) -> None:
        """Prepares the tables by label.

        Args:
            label_counts: Number of examples of every label of the part, 0 included.
            highest: The `max_per_class` greatest rank hashes of every label, or more, ascending
                uint64; not asked for when there is no limit.
            settings: `triplets_per_anchor`, `strategy` and `max_per_class` count here.
        """
        labels = sorted(label_counts)
        counts = np.fromiter(map(label_counts.__getitem__, labels), np.int64, len(labels))
        limit = settings.max_per_class or int(counts.max(initial=1))
        anchors = np.where(counts > 1, np.minimum(counts, limit), 0)
        self._first = np.zeros(len(labels), np.uint64)
        for code in np.flatnonzero(counts > limit):
            self._first[code] = highest[labels[code]][-limit]

        total = settings.triplets_per_anchor * int(anchors.sum())
        share = np.maximum(1, np.count_nonzero(anchors) * anchors)  # 1 where there is no anchor
        if settings.strategy == "class_balanced":
            self._sure, rest = np.divmod(total, share)
            self._rest = rest / share
        else:
            self._sure = np.full(len(labels), settings.triplets_per_anchor)
            self._rest = np.zeros(len(labels))
        self._sure[anchors == 0] = 0
        self._rest[anchors == 0] = 0

    def repeats(self, codes: np.ndarray, digests: np.ndarray) -> np.ndarray:
        """Counts the triplets of each example.

        Args:
            codes: Label of each example, its number among the sorted labels, int64 `[rows]`.
            digests: uint64 `[rows, 3]` of their ids, see `hash_ids`.

        Returns:
            How often each is an anchor, int64 `[rows]`.
        """
        # The group is the remainder of this hash; its leading 53 bits are free to use.
        uniform = (digests[:, GROUP] >> np.uint64(11)) * 2.0**-53
        repeats = self._sure[codes] + (uniform < self._rest[codes])
        return np.where(digests[:, RANK] >= self._first[codes], repeats, 0)
