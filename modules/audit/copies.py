"""Copies: images with the same pixels."""

from __future__ import annotations

import numpy as np

from modules.audit.findings import Finding, Findings, member
from modules.audit.sightings import Sightings

TRAIN, EVAL = "train", "eval"
COPIES = "copies"  # a kind of finding
_MEMBERS = 10  # of a group that are named


def find_copies(rows: Sightings, listed: int) -> tuple[Findings, np.ndarray]:
    """Finds the images with the same pixels.

    Args:
        rows: Some images, all copies of each among them.
        listed: The most groups to name. Those with several labels come first, then those in both
            train and eval.

    Returns:
        Counts and groups; and the rows in which to look for near-duplicates, int64, ascending: of
        each group one for each split and label.

        - `leaked`: eval images with a copy in train.
        - `conflicting`: images with a copy that has another label.
        - `copies in SPLIT`: images of a split but for one of each group.
    """
    result = Findings()
    if not len(rows.ids):
        return result, np.empty(0, np.int64)
    _, codes = np.unique(rows.labels, return_inverse=True)
    order = np.lexsort((rows.pixels[:, 1], rows.pixels[:, 0]))  # stable: by id within a group
    keys = rows.pixels[order]
    starts = np.flatnonzero(np.r_[True, (keys[1:] != keys[:-1]).any(axis=1)])
    sizes = np.diff(np.r_[starts, len(order)])
    group = np.empty(len(order), np.int64)
    group[order] = np.repeat(np.arange(len(starts)), sizes)
    if len(starts) == len(order):
        return result, np.arange(len(order))
    split_codes = np.unique(rows.splits.astype(str), return_inverse=True)[1]
    _, distinct = np.unique(np.stack([group, split_codes, codes]), axis=1, return_index=True)
    lowest = np.minimum.reduceat(codes[order], starts)
    conflicting = lowest != np.maximum.reduceat(codes[order], starts)
    in_split = {
        name: np.bincount(group[rows.splits == name], minlength=len(starts))
        for name in np.unique(rows.splits.astype(str)).tolist()
    }
    none = np.zeros(len(starts), np.int64)
    leaked = np.where(in_split.get(TRAIN, none) > 0, in_split.get(EVAL, none), 0)
    result.counts["leaked"] = int(leaked.sum())
    result.counts["conflicting"] = int(sizes[conflicting].sum())
    for name, counts in in_split.items():
        result.counts[f"copies in {name}"] = int(np.maximum(counts - 1, 0).sum())
    several = np.flatnonzero(sizes > 1)
    result.counts["groups of copies"] = len(several)
    for number in several[conflicting[several]]:
        _count_pairs(result, rows, order[starts[number] : starts[number] + sizes[number]])
    # The group's first row has its smallest id, so rows are in the order of ids.
    first = order[starts[several]]
    ranking = np.lexsort((first, leaked[several] == 0, ~conflicting[several]))[:listed]
    result.listed[COPIES] = [
        _named(rows, order[starts[n] : starts[n] + sizes[n]], bool(conflicting[n]), int(leaked[n]))
        for n in several[ranking]
    ]
    return result, np.sort(distinct)


def _named(rows: Sightings, of_group: np.ndarray, conflicting: bool, leaked: int) -> Finding:
    smallest = rows.ids[of_group[0]], str(rows.splits[of_group[0]])
    return Finding(
        (not conflicting, not leaked, *smallest),
        {
            "images": len(of_group),
            "conflicting": conflicting,
            "leaked": leaked > 0,
            "members": [member(rows, row) for row in _shown(rows, of_group)],
        },
    )


def _shown(rows: Sightings, of_group: np.ndarray) -> list[int]:
    """The first of each label and split, then others, at most ten."""
    seen: set[tuple[str, str]] = set()
    first: list[int] = []
    others: list[int] = []
    for row in of_group.tolist():
        key = rows.labels[row], rows.splits[row]
        (others if key in seen else first).append(row)
        seen.add(key)
    return sorted((first + others)[:_MEMBERS])


def _count_pairs(result: Findings, rows: Sightings, of_group: np.ndarray) -> None:
    labels = rows.labels[of_group].tolist()
    names = sorted(set(labels))
    for label in names:
        for other in names:
            if other != label:
                result.pairs[label, other] += labels.count(label)
    result.suspects.update(rows.ids[of_group].tolist())
