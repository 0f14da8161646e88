"""Near-duplicates: pairs of images whose perceptual hashes differ in few bits.

All pairs are never compared. A hash has 9 words; two hashes that differ in at most 8 bits have at
least one word in common, since 8 bits cannot spoil 9 words. So only images that share a word are
compared, word by word: every such pair is found, and once, at the first word that it shares.

A word that very many images share would bring all pairs back. Images are then sorted by their whole
hash, and each is compared with the next 256 only; `crowded` counts these images.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np

from modules.audit.copies import EVAL, TRAIN
from modules.audit.findings import Finding, Findings, member
from modules.audit.looks import WORDS, differing_bits
from modules.audit.sightings import Sightings

MOST_BITS = WORDS - 1
NEAR = "near_duplicates"  # a kind of finding
_NEXT = 256
_ROWS = 1 << 16  # pairs that are compared at once


def find_near(rows: Sightings, word: int, listed: int, neighbours: int = _NEXT) -> Findings:
    """Finds the near-duplicates that share a word, and none before it.

    Args:
        rows: Images, sorted by id; of those that have the same value of the word, all. Copies of
            each other are no near-duplicates.
        word: Its number, 0 … 8.
        listed: The most pairs to name. Those of two labels come first, then those of train and
            eval, then those that differ least.
        neighbours: With how many next ones an image is compared.

    Returns:
        - `near pairs`: how many; `near pairs, labels differ`, and `crowded`.
        - `near_leaked`: ids of eval images with one in train.
    """
    result = Findings()
    values = rows.words[:, word]
    order = np.lexsort((np.arange(len(values)), *rows.words.T[::-1], values))
    ordered, values = rows.words[order], values[order]
    _, sizes = np.unique(values, return_counts=True)
    result.counts["crowded"] = int(sizes[sizes > neighbours + 1].sum())
    found: list[Finding] = []
    for left, right, bits in _pairs(ordered, rows.pixels[order], values, word, neighbours):
        one, other = np.sort(np.stack([order[left], order[right]]), axis=0)
        found = _add(result, found, rows, one, other, bits, listed)
    result.listed[NEAR] = found
    return result


def _pairs(
    words: np.ndarray, pixels: np.ndarray, values: np.ndarray, word: int, neighbours: int
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yields rows (left, right) of near-duplicates, and in how many bits they differ."""
    starts = np.arange(len(values))
    for apart in range(1, min(neighbours, len(values) - 1) + 1):
        starts = starts[: np.searchsorted(starts, len(values) - apart)]
        starts = starts[values[starts] == values[starts + apart]]
        if not len(starts):
            return
        for first in range(0, len(starts), _ROWS):
            left = starts[first : first + _ROWS]
            right = left + apart
            bits = differing_bits(words[left], words[right])
            before = (words[left, :word] == words[right, :word]).any(axis=1)
            copies = (pixels[left] == pixels[right]).all(axis=1)
            near = np.flatnonzero((bits <= MOST_BITS) & ~before & ~copies)
            yield left[near], right[near], bits[near]


def _add(
    result: Findings,
    found: list[Finding],
    rows: Sightings,
    one: np.ndarray,
    other: np.ndarray,
    bits: np.ndarray,
    listed: int,
) -> list[Finding]:
    differ = rows.labels[one] != rows.labels[other]
    splits = rows.splits[one], rows.splits[other]
    into = (splits[0] == TRAIN) & (splits[1] == EVAL), (splits[0] == EVAL) & (splits[1] == TRAIN)
    leaked = into[0] | into[1]
    result.counts["near pairs"] += len(one)
    result.counts["near pairs, labels differ"] += int(differ.sum())
    result.near_leaked.update(rows.ids[other[into[0]]].tolist())
    result.near_leaked.update(rows.ids[one[into[1]]].tolist())
    ranking = np.lexsort((other, one, bits, ~leaked, ~differ))[:listed]
    new = [
        Finding(
            (not differ[n], not leaked[n], int(bits[n]), rows.ids[one[n]], rows.ids[other[n]]),
            {
                "bits": int(bits[n]),
                "conflicting": bool(differ[n]),
                "leaked": bool(leaked[n]),
                "members": [member(rows, one[n]), member(rows, other[n])],
            },
        )
        for n in ranking
    ]
    return heapq.nsmallest(listed, [*found, *new], key=lambda finding: finding.rank)
