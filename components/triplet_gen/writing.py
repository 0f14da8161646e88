"""The last step of TripletGen's Beam pipeline: one bucket, sampled and written to a file."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np

from components.triplet_gen.embedding import embed_rows
from components.triplet_gen.hashes import derive_key
from components.triplet_gen.mining import squared_distances
from components.triplet_gen.records import make_records, write_records
from components.triplet_gen.rows import Rows, concatenate, encode_labels
from components.triplet_gen.sampling import (
    NO_TRIPLETS,
    TripletIndices,
    draw_triplets,
    have_triplets,
)
from components.triplet_gen.spool import Segment, read_ids, read_rows
from components.triplet_gen.statistics import OutputStats
from components.triplet_gen.validation import TRAIN
from modules.models import SharedEmbedder
from modules.runtime import work_done
from modules.settings import TripletSettings

# Name of the part, number of the bucket, number of buckets of the part.
Bucket = tuple[str, int, int]


class Kind(enum.IntEnum):
    """What a segment that goes to a bucket holds."""

    ROWS = 0  # the examples of the bucket
    RESERVE = 1  # examples that may join it
    IDS = 2  # ids of any examples, to be compared here: equal ones come to the same bucket


class WriteTriplets(beam.DoFn):
    """Makes the triplets of a bucket and writes its images to one file, each once.

    A bucket of the validation part has images only.
    """

    def __init__(
        self,
        settings: TripletSettings,
        folders: Mapping[str, str],
        temp_dir: str,
        embedder: SharedEmbedder | None = None,
        suspects: frozenset[bytes] = frozenset(),
    ) -> None:
        self._settings = settings
        self._folders = folders
        self._temp_dir = temp_dir
        self._embedder = embedder
        self._suspects = suspects

    def setup(self) -> None:
        """Loads the model, before the first bucket is read."""
        if self._embedder:
            self._embedder.acquire()

    def process(
        self, element: tuple[Bucket, Iterable[tuple[int, Segment]]]
    ) -> Iterator[tuple[str, OutputStats]]:
        """Writes the file of a bucket and yields (part, its counts)."""
        bucket, segments = element
        of_kind: dict[int, list[Segment]] = {kind: [] for kind in Kind}
        for kind, place in segments:
            of_kind[kind].append(Segment(*place))
        result = OutputStats()
        result.compare([i for segment in of_kind[Kind.IDS] for i in read_ids(segment)])
        rows = _read(of_kind[Kind.ROWS])
        if rows is not None:  # some buckets get ids only, since all their groups are empty
            own = result.examples = len(rows.ids)
            triplets = NO_TRIPLETS
            if bucket[0] == TRAIN:
                rows = with_reserve(rows, _read(of_kind[Kind.RESERVE]))
                triplets = self._choose(bucket, rows, own, result)
                rows, triplets = without_unused(rows, triplets, own)
            if not result.unusable:
                path = self._write(bucket, rows, triplets, own)
                result.first_file = path if result.anchors else ""
        yield bucket[0], result

    def _choose(self, bucket: Bucket, rows: Rows, own: int, result: OutputStats) -> TripletIndices:
        """Chooses the triplets of a bucket, of `own` rows and the reserve, and counts them."""
        codes = encode_labels(rows.labels)
        wanted = rows.repeats[:own]
        repeats = np.where(have_triplets(codes, own), wanted, 0)
        result.anchors = int(np.count_nonzero(repeats))
        result.unmatched = int(np.count_nonzero(wanted)) - result.anchors
        if not result.anchors:
            return NO_TRIPLETS
        embeddings = None
        if self._embedder:
            embeddings = embed_rows(self._embedder.acquire(), rows, result)
        if result.unusable:
            return NO_TRIPLETS
        key = int.from_bytes(derive_key(self._settings.seed, "triplets", bucket[1]))
        rng = np.random.Generator(np.random.Philox(key=key))
        doubtful = None
        if self._suspects:
            doubtful = np.array([one in self._suspects for one in rows.ids.tolist()], bool)
        triplets, left_out = draw_triplets(
            codes, repeats, rng, self._settings, embeddings, doubtful
        )
        result.triplets = len(triplets.anchor)
        if embeddings is not None:
            d_ap = squared_distances(embeddings, triplets.anchor, triplets.positive)
            d_an = squared_distances(embeddings, triplets.anchor, triplets.negative)
            result.measure(triplets.anchor, d_ap, d_an, left_out)
        work_done.add("triplets", result.triplets)
        return triplets

    def _write(self, bucket: Bucket, rows: Rows, triplets: TripletIndices, own: int) -> str:
        """Writes the file of a bucket and returns its path."""
        part, number, of = bucket
        path = f"{self._folders[part]}/triplets-{number:05d}-of-{of:05d}.tfrecord"
        # A bundle that Beam runs twice replaces its own file. The unfinished one lies where no
        # reader of the split looks.
        write_records(path, make_records(rows, triplets, own), self._temp_dir)
        return path


def with_reserve(rows: Rows, reserve: Rows | None) -> Rows:
    """Appends the rows of the reserve that a bucket does not hold already.

    Args:
        rows: Rows of the bucket, sorted.
        reserve: Rows of the reserve, sorted, if the bucket gets it.

    Returns:
        The rows of the bucket followed by those new to it.
    """
    if reserve is None:
        return rows
    known = set(rows.ids.tolist())
    is_new = np.array([i not in known for i in reserve.ids.tolist()], bool)
    return concatenate([rows, reserve.take(is_new)])


def without_unused(rows: Rows, triplets: TripletIndices, own: int) -> tuple[Rows, TripletIndices]:
    """Drops the rows of the reserve that no triplet uses.

    Args:
        rows: Rows of a bucket, followed by those of the reserve.
        triplets: Their row numbers.
        own: Number of rows of the bucket.

    Returns:
        The rows that remain, and the same triplets by their new numbers.
    """
    used = np.arange(len(rows.ids)) < own
    used[triplets.negative] = True
    number = np.cumsum(used) - 1
    return rows.take(used), triplets._replace(negative=number[triplets.negative])


def _read(segments: Iterable[Segment]) -> Rows | None:
    """Reads segments of rows, sorted; None if there are none."""
    parts = [read_rows(segment) for segment in segments]
    return concatenate(parts).sorted() if parts else None
