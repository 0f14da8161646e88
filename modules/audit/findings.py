"""What was found, and how findings of parts of the data become findings of all."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

from modules.audit.sightings import Sightings


class Finding(NamedTuple):
    """One thing that was found.

    Attributes:
        rank: The smallest are named first; never equal for two findings of a kind.
        value: As it stands in `audit.json`.
    """

    rank: tuple[Any, ...]
    value: dict[str, Any]


@dataclasses.dataclass
class Findings:
    """Counts of everything, and the first of each kind.

    Attributes:
        counts: By name.
        classes: Number of images by (split, label).
        first: By label the smallest (id, split) of its images.
        pairs: Images of a label that have a copy of another label, by (label, other label).
        near_leaked: Ids of eval images with a near-duplicate in train: what two parts of the
            search find is counted once.
        suspects: Ids of images with a copy that has another label.
        listed: The first findings by kind.
    """

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    classes: Counter[tuple[str, bytes]] = dataclasses.field(default_factory=Counter)
    first: dict[bytes, tuple[bytes, str]] = dataclasses.field(default_factory=dict)
    pairs: Counter[tuple[bytes, bytes]] = dataclasses.field(default_factory=Counter)
    near_leaked: set[bytes] = dataclasses.field(default_factory=set)
    suspects: set[bytes] = dataclasses.field(default_factory=set)
    listed: dict[str, list[Finding]] = dataclasses.field(default_factory=dict)


def merge_findings(parts: Iterable[Findings], listed: int) -> Findings:
    """Adds up findings, in any order.

    Args:
        parts: Of different images, or of different pairs of images.
        listed: The most findings of a kind to keep.
    """
    total = Findings()
    for part in parts:
        total.counts.update(part.counts)
        total.classes.update(part.classes)
        for label, one in part.first.items():
            total.first[label] = min(one, total.first.get(label, one))
        total.pairs.update(part.pairs)
        total.near_leaked |= part.near_leaked
        total.suspects |= part.suspects
        for kind, found in part.listed.items():
            both = itertools.chain(total.listed.get(kind, ()), found)
            total.listed[kind] = heapq.nsmallest(listed, both, key=lambda one: one.rank)
    return total


def member(rows: Sightings, row: int) -> dict[str, str]:
    """One image, as it stands in `audit.json`."""
    return {
        "id": rows.ids[row].decode(errors="replace"),
        "label": rows.labels[row].decode(errors="replace"),
        "split": str(rows.splits[row]),
    }
