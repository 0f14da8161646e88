"""Counts of the examples before and after sampling, and which of them are an error of the data."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from components.triplet_gen.hashes import threshold
from components.triplet_gen.neighbourhood import SAMPLE
from components.triplet_gen.ranks import NO_RANKS, Ranks, join_ranks
from components.triplet_gen.validation import (
    TOGETHER,
    ValidationPlan,
    feasible,
    held_fraction,
)
from modules.contract import FEATURES, ID, LABEL
from modules.settings import TripletSettings

_SHOWN = 3  # how many broken files an error names


@dataclasses.dataclass
class InputStats:
    """Counts of the examples of the train split, before any of them is dealt out.

    Attributes:
        labels: Number of complete examples by label.
        eval_labels: Labels of the eval split.
        missing: Number of examples by name of a feature that is absent or empty.
        missing_where: One of those examples: its id, or else its place in a file.
        unreadable: What TensorFlow says about each file it cannot read, by path.
        lowest: The four smallest rank hashes of each label and all others that may be held out.
        highest: The `max_per_class` greatest ones of each label, and those of the images to embed
            for a centroid; empty when there are none of both.
    """

    labels: Counter[bytes] = dataclasses.field(default_factory=Counter)
    eval_labels: set[bytes] = dataclasses.field(default_factory=set)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)
    missing_where: str = ""
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)
    lowest: Ranks = NO_RANKS
    highest: Ranks = NO_RANKS

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

    def keep_ranks(
        self, lowest: Sequence[Ranks], highest: Sequence[Ranks], settings: TripletSettings
    ) -> None:
        """Adds rank hashes of examples, and keeps those that the plans will ask for.

        The more examples are counted, the fewer of them can be held out.
        """
        below = threshold(held_fraction(self.examples, settings))
        self.lowest = join_ranks([self.lowest, *lowest]).lowest(TOGETHER, below)
        sample = SAMPLE if settings.buckets == "neighbourhood" else 0
        if limit := max(settings.max_per_class, sample):
            self.highest = join_ranks([self.highest, *highest]).highest(limit)

    def merge(self, others: Sequence[InputStats], settings: TripletSettings) -> None:
        """Adds the counts of other files to this object."""
        for other in others:
            self.labels.update(other.labels)
            self.eval_labels |= other.eval_labels
            self.missing.update(other.missing)
            self.unreadable.update(other.unreadable)
        where = [self.missing_where, *(other.missing_where for other in others)]
        self.missing_where = min(filter(None, where), default="")
        self.keep_ranks(
            [other.lowest for other in others], [other.highest for other in others], settings
        )

    @property
    def examples(self) -> int:
        """Number of complete examples."""
        return self.labels.total()

    def validation_plan(self, settings: TripletSettings) -> ValidationPlan:
        """What is held out, when there is no `problem`."""
        return ValidationPlan(self.labels, self.lowest.by_label(), self.eval_labels, settings)

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
                "wrote the examples."
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
        if not feasible(self.labels):
            return (
                f"its {len(self.labels)} classes are too small to hold out images for the "
                "validation, which takes two classes of four images or three classes of two. Add "
                "images."
            )
        return None


def class_sizes(label_counts: Mapping[bytes, int]) -> dict[str, int]:
    """Histogram of the class sizes: number of classes by size, in powers of two.

    The keys are "1", "2-3", "4-7", "8-15" and so on, ascending, without empty ones.
    """
    powers = Counter(size.bit_length() - 1 for size in label_counts.values() if size)
    return {
        f"{2**power}-{2 ** (power + 1) - 1}" if power else "1": powers[power]
        for power in sorted(powers)
    }


@dataclasses.dataclass
class OutputStats:
    """Counts of what became of the examples of one part.

    Attributes:
        examples: Number of examples that arrived in a bucket.
        triplets: Number of triplets written.
        anchors: Number of examples that are an anchor.
        hard_negatives: Number of triplets whose negative is nearer than their positive. This and
            the next four count only where there are embeddings.
        anchors_with_hard_negative: Number of anchors with such a triplet.
        left_out_negatives: Number of triplets for which a nearer negative was left out.
        d_ap: Sum of the squared L2 distances of the positives, in units of 2^-20.
        d_an: The same of the negatives.
        unmatched: Number of examples that should be an anchor but find no triplet in their bucket.
        duplicates: Number of examples with the id of an earlier one.
        duplicate: One such id.
        first_file: Path of the first file with an anchor.
        unusable: Number of examples without a finite embedding.
        unusable_example: One of them and the reason.
    """

    examples: int = 0
    triplets: int = 0
    anchors: int = 0
    hard_negatives: int = 0
    anchors_with_hard_negative: int = 0
    left_out_negatives: int = 0
    d_ap: int = 0
    d_an: int = 0
    unmatched: int = 0
    duplicates: int = 0
    duplicate: str = ""
    first_file: str = ""
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

    def measure(
        self, anchor: np.ndarray, d_ap: np.ndarray, d_an: np.ndarray, left_out: np.ndarray
    ) -> None:
        """Adds up what the embeddings say of triplets.

        Args:
            anchor: Row numbers, int64 `[triplets]`.
            d_ap: `squared_distances` of the positives, int64 `[triplets]`.
            d_an: The same of the negatives.
            left_out: Whether a nearer negative was left out, bool `[triplets]`.
        """
        is_hard = d_an < d_ap
        self.hard_negatives += int(is_hard.sum())
        self.anchors_with_hard_negative += len(np.unique(anchor[is_hard]))
        self.left_out_negatives += int(left_out.sum())
        self.d_ap += int(d_ap.sum())
        self.d_an += int(d_an.sum())

    def merge(self, other: OutputStats) -> None:
        """Adds the counts of other buckets of the part; of two texts the first in order stays."""
        for field in dataclasses.fields(self):
            mine, others = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, str):
                merged = min(filter(None, (mine, others)), default="")
            else:
                merged = mine + others
            setattr(self, field.name, merged)


def _show(value: bytes) -> str:
    return repr(value.decode(errors="replace"))
