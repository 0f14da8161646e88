"""Counts of a split before and after sampling, and which of them are an error of the data."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from modules.contract import FEATURES, ID, LABEL

_SHOWN = 3  # how many broken files an error names


@dataclasses.dataclass
class InputStats:
    """Counts of the examples of one split, before any triplet is made.

    Attributes:
        labels: Number of complete examples by label.
        missing: Number of examples by name of a feature that is absent or empty.
        missing_where: One of those examples: its id, or else its place in a file.
        unreadable: What TensorFlow says about each file it cannot read, by path.
        smallest: The `max_per_class` smallest order hashes of each label, ascending uint64; empty
            when there is no limit.
    """

    labels: Counter[bytes] = dataclasses.field(default_factory=Counter)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)
    missing_where: str = ""
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    smallest: dict[bytes, np.ndarray] = dataclasses.field(default_factory=dict)

    def count(self, batch: Mapping[str, np.ndarray], path: str, first: int) -> None:
        """Counts the labels and absent features of a batch.

        Args:
            batch: Object array of bytes `[rows]` by name of a feature, b"" where it is absent.
            path: File of the batch.
            first: Number of the batch's first record in the file.
        """
        absent = np.array([[not value for value in batch[name].tolist()] for name in FEATURES])
        broken = absent.any(axis=0)
        self.labels.update(batch[LABEL][~broken].tolist())
        if broken.any():
            absences = zip(FEATURES, absent.sum(axis=1).tolist(), strict=True)
            self.missing.update({name: count for name, count in absences if count})
            row = int(np.argmax(broken))
            name = batch[ID][row].decode(errors="replace")
            where = f"id {name!r}" if name else f"record {first + row} of {path}"
            self.missing_where = self.missing_where or where

    def keep_smallest(self, smallest: Mapping[bytes, np.ndarray], limit: int) -> None:
        """Adds order hashes by label, and keeps the `limit` smallest of each label."""
        for label, hashes in smallest.items():
            if label in self.smallest:
                hashes = np.sort(np.concatenate((self.smallest[label], hashes)))[:limit]
            self.smallest[label] = hashes

    def merge(self, other: InputStats, max_per_class: int = 0) -> None:
        """Adds the counts of other files of the split to this object."""
        self.labels.update(other.labels)
        self.missing.update(other.missing)
        self.missing_where = min(
            filter(None, (self.missing_where, other.missing_where)), default=""
        )
        self.unreadable.update(other.unreadable)
        self.keep_smallest(other.smallest, max_per_class)

    @property
    def examples(self) -> int:
        """Number of complete examples."""
        return self.labels.total()

    @property
    def singletons(self) -> int:
        """Number of examples that are alone in their class, so without any positive."""
        return sum(count == 1 for count in self.labels.values())

    def class_sizes(self) -> dict[str, int]:
        """Histogram of the class sizes: number of classes by size, in powers of two.

        The keys are "1", "2-3", "4-7", "8-15" and so on, ascending, without empty ones.
        """
        powers = Counter(size.bit_length() - 1 for size in self.labels.values())
        return {
            f"{2**power}-{2 ** (power + 1) - 1}" if power else "1": powers[power]
            for power in sorted(powers)
        }

    def problem(self) -> str | None:
        """Says why no triplets can be made of the split, and the remedy; None if they can."""
        if self.unreadable:
            shown = sorted(self.unreadable.items())[:_SHOWN]
            return (
                f"it has unreadable files ({len(self.unreadable)}), such as "
                + "; ".join(f"{path}: {reason}" for path, reason in shown)
                + ". Each must be a gzipped TFRecord file of tf.Examples with one bytes value for "
                f"each of {', '.join(FEATURES)}; write them again in that form."
            )
        if self.missing:
            counts = ", ".join(f"{name}: {n}" for name, n in sorted(self.missing.items()))
            return (
                f"features are absent or empty in some examples ({counts}), such as "
                f"{self.missing_where}. Every example needs {', '.join(FEATURES)}; ingest the data "
                "with ImageExampleGen, or add the features to your own TFRecords."
            )
        if not self.labels:
            return (
                "it has no examples. Give it a larger share of the data in the component that "
                "wrote the examples, or leave it out of TripletGen's `splits`."
            )
        if len(self.labels) == 1:
            return (
                f"all {self.examples} examples have the label {_show(next(iter(self.labels)))}, so "
                "there is no negative. Add a second class, or split by hash of the id rather than "
                "by class."
            )
        if max(self.labels.values()) == 1:
            return (
                f"each of its {len(self.labels)} classes has a single example, so there is no "
                "positive. Add images, or check that `label` holds the class and not the id."
            )
        return None


@dataclasses.dataclass
class OutputStats:
    """Counts of what became of the examples of one split.

    Attributes:
        examples: Number of examples that arrived in a bucket.
        triplets: Number of triplets written.
        anchors: Number of examples that are an anchor.
        unmatched: Number of examples that should be an anchor but find no triplet in their bucket.
        duplicates: Number of examples with the id of an earlier one.
        duplicate: One such id.
        unusable: Number of examples without a finite embedding.
        unusable_example: One of them and the reason.
    """

    examples: int = 0
    triplets: int = 0
    anchors: int = 0
    unmatched: int = 0
    duplicates: int = 0
    duplicate: str = ""
    unusable: int = 0
    unusable_example: str = ""

    def compare(self, ids: Sequence[bytes]) -> None:
        """Counts the ids that repeat another one of these."""
        occurrences = Counter(ids)
        self.duplicates += len(ids) - len(occurrences)
        if len(ids) > len(occurrences):
            self.duplicate = min(i for i, n in occurrences.items() if n > 1).decode(
                errors="replace"
            )

    def merge(self, other: OutputStats) -> None:
        """Adds the counts of other buckets of the split; of two texts the first in order stays."""
        for field in dataclasses.fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, str):
                merged = min(filter(None, (mine, others)), default="")
            else:
                merged = mine + others
            setattr(self, field.name, merged)


def explain(error: tf.errors.OpError) -> str:
    """What went wrong, without the Python frames before and the graph names around it."""
    text = error.message.split("\n\n")[-1]
    text = text.split("<stack traces unavailable>\n")[-1]
    text = re.sub(r"\{\{.*?\}\}|\s*\[(\[|Op:).*", "", text, flags=re.DOTALL).strip()
    # tf.data puts the names of its stages before the message of the function it maps.
    return re.sub(r"^Error in user-defined function .*? iterator: [\w:]+: ", "", text)[:200]


def _show(value: bytes) -> str:
    return repr(value.decode(errors="replace"))
