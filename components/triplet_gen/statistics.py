"""Counts of a split before and after sampling, and which of them are an error of the data."""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.triplet_gen.rows import inspect_batches
from modules.contract import FEATURES

_SHOWN = 3  # how many broken files an error names


@dataclasses.dataclass
class InputStats:
    """Counts of the examples of one split, before any triplet is made.

    Attributes:
        labels: Number of complete examples by label.
        missing: Number of examples by name of a feature that is absent or empty.
        missing_where: One of those examples: its id, or else its place in a file.
        unreadable: What TensorFlow says about each file it cannot read, by path.
    """

    labels: Counter[bytes] = dataclasses.field(default_factory=Counter)
    missing: Counter[str] = dataclasses.field(default_factory=Counter)
    missing_where: str = ""
    unreadable: dict[str, str] = dataclasses.field(default_factory=dict)

    def merge(self, other: InputStats) -> None:
        """Adds the counts of other files of the split to this object."""
        self.labels.update(other.labels)
        self.missing.update(other.missing)
        self.missing_where = min(
            filter(None, (self.missing_where, other.missing_where)), default=""
        )
        self.unreadable.update(other.unreadable)

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


class MergeStats(beam.CombineFn):
    """Adds up InputStats by split."""

    def create_accumulator(self) -> dict[str, InputStats]:
        """Starts with no split."""
        return {}

    def add_input(
        self, accumulator: dict[str, InputStats], element: tuple[str, InputStats]
    ) -> dict[str, InputStats]:
        """Adds the counts of one file."""
        split, stats = element
        accumulator.setdefault(split, InputStats()).merge(stats)
        return accumulator

    def merge_accumulators(
        self, accumulators: Iterable[dict[str, InputStats]]
    ) -> dict[str, InputStats]:
        """Adds the counts of several workers."""
        merged = self.create_accumulator()
        for accumulator in accumulators:
            for element in accumulator.items():
                self.add_input(merged, element)
        return merged

    def extract_output(self, accumulator: dict[str, InputStats]) -> dict[str, InputStats]:
        """Returns the sums."""
        return accumulator


def count_file(element: tuple[str, str]) -> tuple[str, InputStats]:
    """Counts labels, absent features and unreadable content of one file of a split.

    What is wrong with the data is counted rather than raised, so that the executor can say it
    without a Beam traceback around it.

    Args:
        element: Name of the split, path of the file.

    Returns:
        Name of the split, counts of the file.
    """
    split, path = element
    stats = InputStats()
    record = 0
    try:
        for labels, ids, absent in inspect_batches(path):
            broken = absent.any(axis=0)
            stats.labels.update(labels[~broken].tolist())
            if broken.any():
                stats.missing.update(
                    {n: int(k) for n, k in zip(FEATURES, absent.sum(axis=1), strict=True) if k}
                )
                first = int(np.argmax(broken))
                name = ids[first].numpy().decode(errors="replace")
                where = f"id {name!r}" if name else f"record {record + first} of {path}"
                stats.missing_where = stats.missing_where or where
            record += len(broken)
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        stats.unreadable[path] = _reason(error)
    return split, stats


@dataclasses.dataclass
class OutputStats:
    """Counts of what was written for one split.

    Attributes:
        triplets: Number of triplets.
        anchors: Number of examples that are an anchor.
        duplicates: Number of examples with the id of another one of their bucket.
        duplicate: One such id.
    """

    triplets: int = 0
    anchors: int = 0
    duplicates: int = 0
    duplicate: str = ""

    def merge(self, other: OutputStats) -> None:
        """Adds the counts of other buckets of the split to this object."""
        self.triplets += other.triplets
        self.anchors += other.anchors
        self.duplicates += other.duplicates
        self.duplicate = min(filter(None, (self.duplicate, other.duplicate)), default="")


def summarize(
    stats: Mapping[str, InputStats], results: Iterable[tuple[str, OutputStats]]
) -> dict[str, Any]:
    """Reduces the counts to what the executor needs, free of anything JSON cannot hold.

    Args:
        stats: Counts of the examples, by name of the split.
        results: Name of the split and counts of what was written, of each bucket.

    Returns:
        `classes`: number of different labels over all splits. `splits`: by name, a dict of
        `problem` (a sentence or None), `examples`, `classes`, `anchors_without_positive`,
        `class_sizes`, and the fields of OutputStats.
    """
    written = {split: OutputStats() for split in stats}
    for split, result in results:
        written[split].merge(result)
    return {
        "classes": len(set().union(*(split.labels for split in stats.values()))),
        "splits": {
            name: {
                "problem": split.problem(),
                "examples": split.examples,
                "classes": len(split.labels),
                "anchors_without_positive": split.singletons,
                "class_sizes": split.class_sizes(),
                **dataclasses.asdict(written[name]),
            }
            for name, split in stats.items()
        },
    }


def _reason(error: tf.errors.OpError) -> str:
    """What went wrong, without the Python frames before and the graph names around it."""
    text = error.message.split("\n\n")[-1]
    return re.sub(r"\{\{.*?\}\}|\s*\[(\[|Op:).*", "", text, flags=re.DOTALL).strip()[:200]


def _show(value: bytes) -> str:
    return repr(value.decode(errors="replace"))
