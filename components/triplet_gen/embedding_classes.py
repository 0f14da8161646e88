"""The step of TripletGen's Beam pipeline that embeds some images of each class.

Only `buckets = "neighbourhood"` needs it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from components.triplet_gen.embedding import embed_rows
from components.triplet_gen.hashes import RANK
from components.triplet_gen.neighbourhood import SAMPLE, Centroids
from components.triplet_gen.results import load_result, save_result
from components.triplet_gen.spool import Segment, SegmentKey, read_rows
from components.triplet_gen.statistics import InputStats, OutputStats
from modules.models import SharedEmbedder
from modules.settings import TripletSettings


class Embedded(NamedTuple):
    """What the sample of a segment gave; `stats` has the images that cannot be embedded."""

    segment: SegmentKey
    centroids: Centroids
    stats: OutputStats


class EmbedClasses(beam.DoFn):
    """Embeds the images of a segment that are among the 4 of their class to be embedded.

    Those are the ones with the greatest rank hashes, of the train part: whatever file they are in,
    they are the same.
    """

    def __init__(self, settings: TripletSettings, temp_dir: str, embedder: SharedEmbedder) -> None:
        self._settings = settings
        self._temp_dir = temp_dir
        self._embedder = embedder
        self._first: dict[bytes, int] = {}

    def process(
        self, element: tuple[SegmentKey, Iterable[None]]
    ) -> Iterator[tuple[None, Embedded]]:
        """Takes (segment, …) and yields (None, what was embedded of it)."""
        if not self._first:
            stats = load_result(self._temp_dir, InputStats)
            train = stats.validation_plan(self._settings).train
            self._first = {
                label: int(ranks[-min(SAMPLE, train[label])])
                for label, ranks in stats.highest.by_label().items()
                if train[label]
            }
        rows = read_rows(Segment(*element[0]))
        ranks = zip(rows.labels.tolist(), rows.digests[:, RANK].tolist(), strict=True)
        rows = rows.take(np.array([rank >= self._first.get(label, 2**64) for label, rank in ranks]))
        result = Embedded(element[0], Centroids(), OutputStats())
        if len(rows.ids):
            embeddings = embed_rows(self._embedder.acquire(), rows, result.stats)
            if not result.stats.unusable:
                result.centroids.add(rows.labels.tolist(), embeddings)
        yield None, result


def save_centroids(
    element: tuple[None, Iterable[Embedded]], temp_dir: str
) -> Iterator[tuple[SegmentKey, None]]:
    """Adds up and saves the centroids; if all images could be embedded, yields the segments."""
    centroids, stats = Centroids(), OutputStats()
    segments: list[SegmentKey] = []
    for embedded in element[1]:
        segments.append(embedded.segment)
        centroids.merge(embedded.centroids)
        stats.merge(embedded.stats)
    if stats.unusable:
        save_result(temp_dir, stats)
        return
    save_result(temp_dir, centroids)
    yield from ((segment, None) for segment in segments)
