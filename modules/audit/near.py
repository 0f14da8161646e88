"""Near-duplicates: pairs of images whose perceptual hashes differ in few bits.

All pairs are never compared. A hash has 9 words; two hashes that differ in at most 8 bits have at
least one word in common, since 8 bits cannot spoil 9 words. So only images that share a word are
compared, word by word: every such pair is found, and once, at the first word that it shares.

A shift of one pixel changes many bits. So small images have hashes of themselves shifted, and the
hash of one image is compared with the shifted ones of others: `find_shifted`. These match bit by
bit, or hardly, so the words are longer there, 3 of 48 bits: 2 bits cannot spoil 3 words.

A word that very many images share would bring all pairs back. Images are then sorted by their whole
hash, and each is compared with the next 256 only; `crowded` counts these images.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from modules.audit.copies import EVAL, TRAIN
from modules.audit.findings import Finding, Findings, member
from modules.audit.hashes import SHIFTED, WORDS, differing_bits
from modules.audit.sightings import Sightings

MOST_BITS = WORDS - 1
LONG_WORDS = 3  # of a hash that is shifted
MOST_BITS_SHIFTED = LONG_WORDS - 1
NEAR = "near_duplicates"  # a kind of finding
_NEXT = 256
_ROWS = 1 << 16  # pairs that are compared at once


class _Pairs(NamedTuple):
    """Rows of near-duplicates, int64, `one` before `other`, and in how many bits they differ."""

    one: np.ndarray
    other: np.ndarray
    bits: np.ndarray
    shifted: bool


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
    _, sizes = np.unique(values, return_counts=True)
    result.counts["crowded"] = int(sizes[sizes > neighbours + 1].sum())
    found: list[Finding] = []
    for left, right in _sharing(values[order], neighbours):
        one, other = np.sort(np.stack([order[left], order[right]]), axis=0)
        bits = differing_bits(rows.words[one], rows.words[other])
        before = (rows.words[one, :word] == rows.words[other, :word]).any(axis=1)
        near = (bits <= MOST_BITS) & ~before & ~_are_copies(rows, one, other)
        found = _add(
            result, found, rows, _Pairs(one[near], other[near], bits[near], shifted=False), listed
        )
    result.listed[NEAR] = found
    return result


def find_shifted(
    rows: Sightings, ways: np.ndarray, word: int, listed: int, neighbours: int = _NEXT
) -> Findings:
    """Finds pairs of which one is the other shifted by a pixel, and that `find_near` does not.

    Args:
        rows: Small images, sorted by id, one row for each of their shifted hashes that is looked
            at. Of those whose hash has the same value of the word, all.
        ways: Which of the shifted hashes that is, int64 [N]; 0 is the one that is not shifted.
        word: Number of a word of 48 bits, 0 … 2.
        listed: As in `find_near`.
        neighbours: Likewise.

    Returns:
        As `find_near`, but for `crowded`. Each pair is found once: at the first pair of hashes that
        match, and there at the first word.
    """
    result = Findings()
    hashes = rows.shifted[np.arange(len(ways)), ways]
    values = long_words(hashes)[:, word]
    order = np.lexsort((np.arange(len(values)), *hashes.T[::-1], values))
    found: list[Finding] = []
    for left, right in _sharing(values[order], neighbours):
        one, other = np.sort(np.stack([order[left], order[right]]), axis=0)
        near = (ways[one] == 0) != (ways[other] == 0)
        near &= differing_bits(hashes[one], hashes[other]) <= MOST_BITS_SHIFTED
        one, other = one[near], other[near]
        bits, match, at_word = _first_match(rows.shifted[one], rows.shifted[other])
        first = (match == np.where(ways[one] == 0, ways[other], SHIFTED - 1 + ways[one])) & (
            at_word == word
        )
        first &= differing_bits(rows.words[one], rows.words[other]) > MOST_BITS
        first &= ~_are_copies(rows, one, other)
        found = _add(
            result, found, rows, _Pairs(one[first], other[first], bits[first], shifted=True), listed
        )
    result.listed[NEAR] = found
    return result


def long_words(hashes: np.ndarray) -> np.ndarray:
    """Hashes as words of 48 bits: uint16 [N, 9] → uint64 [N, 3]."""
    parts = hashes.reshape(len(hashes), LONG_WORDS, WORDS // LONG_WORDS).astype(np.uint64)
    return parts[:, :, 0] | parts[:, :, 1] << np.uint64(16) | parts[:, :, 2] << np.uint64(32)


def _first_match(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of pairs, uint16 [N, 5, 9] twice: bits, number and word of the first hashes that match.

    Numbers 1 … 4: `one` as it is and a shifted `other`; 5 … 8: the other way round.
    """
    first = np.zeros((3, len(one)), np.int64)
    pairs = [(0, way) for way in range(1, SHIFTED)] + [(way, 0) for way in range(1, SHIFTED)]
    for number, (of_one, of_other) in reversed([*enumerate(pairs, 1)]):
        left, right = one[:, of_one], other[:, of_other]
        bits = differing_bits(left, right)
        match = bits <= MOST_BITS_SHIFTED
        word = (long_words(left) == long_words(right)).argmax(axis=1)
        first[:, match] = np.stack([bits, np.full(len(bits), number), word])[:, match]
    return first[0], first[1], first[2]


def _sharing(values: np.ndarray, neighbours: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields places (left, right) of equal values, which are sorted, at most so far apart."""
    starts = np.arange(len(values))
    for apart in range(1, min(neighbours, len(values) - 1) + 1):
        starts = starts[: np.searchsorted(starts, len(values) - apart)]
        starts = starts[values[starts] == values[starts + apart]]
        if not len(starts):
            return
        for first in range(0, len(starts), _ROWS):
            left = starts[first : first + _ROWS]
            yield left, left + apart


def _are_copies(rows: Sightings, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    copies: np.ndarray = (rows.pixels[one] == rows.pixels[other]).all(axis=1)
    return copies


def _add(
    result: Findings, found: list[Finding], rows: Sightings, pairs: _Pairs, listed: int
) -> list[Finding]:
    one, other, bits, shifted = pairs
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
                "shifted": shifted,
                "conflicting": bool(differ[n]),
                "leaked": bool(leaked[n]),
                "members": [member(rows, one[n]), member(rows, other[n])],
            },
        )
        for n in ranking
    ]
    return heapq.nsmallest(listed, [*found, *new], key=lambda finding: finding.rank)
