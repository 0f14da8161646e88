"""Reads examples and looks at their images, each once."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np

from modules.audit import BLANK, Finding, Findings, Sightings, look_at, member
from modules.contract import ID, IMAGE, LABEL
from modules.models import SharedEmbedder
from modules.runtime import work_done
from modules.storage import read_examples

FINDINGS, VECTORS = "findings", "vectors"
_READ = 128  # images in memory
_ROWS = 8192  # in an element
_EMBEDDED_AT_ONCE = 64  # every call has so many images, filled up where they are fewer


class Vectors(NamedTuple):
    """What a model makes of some images: object arrays [B] of bytes, float32 [B, D]."""

    ids: np.ndarray
    labels: np.ndarray
    embeddings: np.ndarray


class LookAtFile(beam.DoFn):
    """(split, path) → Sightings; in outputs of their own Findings and Vectors.

    An image that cannot be decoded is counted and left out: ExampleGen lets none pass.
    """

    def __init__(
        self,
        background: tuple[int, int, int],
        listed: int,
        embedder: SharedEmbedder | None,
        compared: float,
    ) -> None:
        self._background, self._listed = background, listed
        self._embedder, self._compared = embedder, compared

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        """Yields rows of some thousand images at a time."""
        split, path = element
        found, parts, waiting = Findings(), [], 0
        # An example without an image or a label is for ExampleValidator to report.
        for batch in read_examples(path, batch_size=_READ, absent=b""):
            images, labels, ids = (batch[name].numpy() for name in (IMAGE, LABEL, ID))
            rows = self._look(split, images, labels, ids, found)
            parts.append(rows)
            waiting += len(rows.ids)
            if self._embedder:
                yield from self._embed(images, labels, ids)
            if waiting >= _ROWS:
                yield _joined(parts)
                parts, waiting = [], 0
            work_done.add("images", len(images))
        if waiting:
            yield _joined(parts)
        yield beam.pvalue.TaggedOutput(FINDINGS, found)

    def _look(
        self,
        split: str,
        images: np.ndarray,
        labels: np.ndarray,
        ids: np.ndarray,
        found: Findings,
    ) -> Sightings:
        looks = look_at(images.tolist(), self._background)
        splits = np.full(len(ids), split, object)
        rows = Sightings(ids, labels, splits, looks.pixels, looks.words, looks.shifted, looks.blank)
        found.classes.update(Counter((split, label) for label in labels.tolist()))
        for label, example_id in zip(labels.tolist(), ids.tolist(), strict=True):
            one = example_id, split
            found.first[label] = min(one, found.first.get(label, one))
        found.counts["undecodable"] += int((~looks.decoded).sum())
        blank = np.flatnonzero(looks.blank & looks.decoded)
        found.counts["blank"] += len(blank)
        new = [Finding((ids[row], split), member(rows, row)) for row in blank.tolist()]
        found.listed[BLANK] = heapq.nsmallest(
            self._listed, [*found.listed.get(BLANK, ()), *new], key=lambda one: one.rank
        )
        return rows.take(looks.decoded)

    def _embed(
        self, images: np.ndarray, labels: np.ndarray, ids: np.ndarray
    ) -> Iterator[beam.pvalue.TaggedOutput]:
        assert self._embedder is not None
        chosen = np.array([is_compared(one, self._compared) for one in ids.tolist()], bool)
        if not chosen.any():
            return
        embeddings = self._embedder.acquire()(
            images[chosen].tolist(), batch_size=_EMBEDDED_AT_ONCE, filled=True
        )
        finite = np.isfinite(embeddings).all(axis=1)
        yield beam.pvalue.TaggedOutput(
            VECTORS, Vectors(ids[chosen][finite], labels[chosen][finite], embeddings[finite])
        )


def is_compared(example_id: bytes, share: float) -> bool:
    """Whether the model compares an image: by a hash of its id, so that every run asks the same."""
    return int.from_bytes(hashlib.sha256(example_id).digest()[:8]) < share * 2**64


def _joined(parts: list[Sightings]) -> Sightings:
    return Sightings(*map(np.concatenate, zip(*parts, strict=True)))
