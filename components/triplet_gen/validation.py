"""Which images are held out for the validation: a function of ids, labels, counts and the seed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from components.triplet_gen.hashes import derive_key, hash_label, threshold
from modules.contract import VALIDATION
from modules.settings import TripletSettings

TRAIN = "train"
PARTS = (TRAIN, VALIDATION)

By = Literal["images", "classes"]

# Images of a class that are held out together, so that each finds others of its class there.
TOGETHER = 4
# To be held out by images, and to remain for training.
_LEAST_CLASSES = 2


def feasible(label_counts: Mapping[bytes, int]) -> list[By]:
    """In which ways enough can be held out, and two classes of two images remain.

    A single class that is held out whole is enough: the Trainer searches for its images among
    those of train classes too.

    Args:
        label_counts: Number of examples by label.

    Returns:
        `images` if two classes have four images, `classes` if three classes have two.
    """
    sizes = label_counts.values()
    ways: list[By] = []
    if sum(n >= 4 for n in sizes) >= _LEAST_CLASSES:
        ways.append("images")
    if sum(n >= 2 for n in sizes) > _LEAST_CLASSES:
        ways.append("classes")
    return ways


def held_fraction(examples: int, settings: TripletSettings) -> float:
    """The fraction f of so many examples that is held out, about."""
    return min(settings.validation_fraction, settings.validation_images / max(1, examples))


class ValidationPlan:
    """Says which examples are held out.

    With N examples, f = min(`validation_fraction`, `validation_images` / N).

    By images: a held-out image needs others of its class beside it to be found. So a class of n
    examples holds out m = min(4, ⌊n / 2⌋) or more, or none; with n < 4 that is none. If f · n ≥ m,
    it holds out those whose rank hash is below f, as a number in [0, 1), but the m smallest at
    least and ⌊n / 2⌋ at most. If f · n < m, it is chosen with probability f · n / m, by a hash of
    its label, and holds out the m smallest. If fewer than two classes are chosen so, those with the
    smallest hashes are.

    By classes: whole classes of two examples and more, in the order of a hash of their label, until
    f · N examples are reached; but one at least, and two remain.

    Attributes:
        by: `images` or `classes`: `settings.validation`, or the other way if the data allows only
            that. `auto` is by classes if eval has labels and none of them is one of these.
        train: Number of examples that remain, by label, 0 included.
        validation: Number of examples that are held out, by label, 0 included.
    """

    def __init__(
        self,
        label_counts: Mapping[bytes, int],
        lowest: Mapping[bytes, np.ndarray],
        eval_labels: frozenset[bytes] | set[bytes],
        settings: TripletSettings,
    ) -> None:
        """Prepares the table from label to the last rank hash that is held out.

        Args:
            label_counts: Number of examples of every label; `feasible` in some way.
            lowest: Of every label, ascending, the four smallest rank hashes and all others below f.
            eval_labels: Labels of the eval split; needed with `auto` only.
            settings: `validation`, `validation_fraction`, `validation_images` and `seed` count.
        """
        self._counts = label_counts
        self._lowest = lowest
        self._fraction = held_fraction(sum(label_counts.values()), settings)
        key = derive_key(settings.seed, "validation")
        self._hashes = {label: hash_label(label, key) for label, n in label_counts.items() if n > 1}
        ways = feasible(label_counts)
        wanted = settings.validation
        if wanted == "auto":
            apart = bool(eval_labels) and eval_labels.isdisjoint(label_counts)
            wanted = "classes" if apart else "images"
        self.by: By = wanted if wanted in ways else ways[0]
        held = self._images() if self.by == "images" else self._classes()

        labels = sorted(label_counts)
        self.validation = {label: held.get(label, 0) for label in labels}
        self.train = {label: label_counts[label] - self.validation[label] for label in labels}
        self._is_held = np.array([self.validation[label] > 0 for label in labels])
        self._last = np.full(len(labels), 2**64 - 1, np.uint64)
        for code, label in enumerate(labels):
            if self.validation[label] and self.train[label]:
                self._last[code] = lowest[label][self.validation[label] - 1]

    def _images(self) -> dict[bytes, int]:
        below, held = threshold(self._fraction), {}
        sizes = {label: n for label, n in self._counts.items() if n >= 4}
        for label, n in sizes.items():
            together, expected = min(TOGETHER, n // 2), self._fraction * n
            if expected >= together:
                found = int(np.searchsorted(self._lowest[label], np.uint64(below)))
                held[label] = min(max(found, together), n // 2)
            elif self._hashes[label] < threshold(expected / together):
                held[label] = together
        if len(held) < _LEAST_CLASSES:
            for label in self._by_hash(sizes)[:_LEAST_CLASSES]:
                held.setdefault(label, min(TOGETHER, sizes[label] // 2))
        return held

    def _classes(self) -> dict[bytes, int]:
        wanted = self._fraction * sum(self._counts.values())
        order = self._by_hash(self._hashes)
        held: dict[bytes, int] = {}
        for label in order[:-_LEAST_CLASSES]:
            if held and sum(held.values()) >= wanted:
                break
            held[label] = self._counts[label]
        return held

    def _by_hash(self, labels: Mapping[bytes, int]) -> list[bytes]:
        return sorted(labels, key=lambda label: (self._hashes[label], label))

    def is_held_out(self, codes: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        """Says which examples are held out.

        Args:
            codes: Label of each example, its number among the sorted labels, int64 `[rows]`.
            ranks: Rank hash of each, uint64 `[rows]`.

        Returns:
            bool `[rows]`.
        """
        return self._is_held[codes] & (ranks <= self._last[codes])
