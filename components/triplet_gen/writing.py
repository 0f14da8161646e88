"""The last step of TripletGen's Beam pipeline: the triplets of one bucket to one file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
from apache_beam.utils import shared

from components.triplet_gen.buckets import derive_key
from components.triplet_gen.embedding import Embedder, UnreadableImageError
from components.triplet_gen.records import serialize_triplets
from components.triplet_gen.rows import Rows, concatenate, encode_labels
from components.triplet_gen.sampling import Classes, draw_triplets
from components.triplet_gen.settings import Settings
from components.triplet_gen.shards import write_shard
from components.triplet_gen.spool import Segment, read_segment
from components.triplet_gen.statistics import OutputStats

# Name of the split, number of the bucket, number of buckets of the split.
Bucket = tuple[str, int, int]


class WriteTriplets(beam.DoFn):
    """Makes the triplets of a bucket and writes them to one file, named after the bucket."""

    def __init__(
        self,
        settings: Settings,
        split_dirs: Mapping[str, str],
        temp_dir: str,
        model: str | None = None,
    ) -> None:
        self._settings = settings
        self._split_dirs = split_dirs
        self._temp_dir = temp_dir
        self._model = model
        self._shared = shared.Shared()
        self._embedder: Embedder | None = None

    def setup(self) -> None:
        """Loads the model, once per process."""
        if self._model:
            self._embedder = self._shared.acquire(lambda: Embedder(self._model))

    def process(
        self, element: tuple[Bucket, Iterable[tuple[bool, Segment]]]
    ) -> Iterator[tuple[str, OutputStats]]:
        """Writes the file of a bucket and yields (split, its counts)."""
        (split, number, of), segments = element
        segments = list(segments)
        rows = _read(segments, reserve=False)
        if rows is None:  # every block of the bucket is empty
            return
        result = OutputStats(examples=len(rows.ids))
        # Sorted by digest, equal ids are neighbours; with equal labels they share the bucket.
        duplicates = np.flatnonzero((rows.digests[1:] == rows.digests[:-1]).all(axis=1))
        if len(duplicates):
            result.duplicates = len(duplicates)
            result.duplicate = rows.ids[duplicates[0]].decode(errors="replace")
            yield split, result
            return

        rows = with_reserve(rows, _read(segments, reserve=True))
        codes = encode_labels(rows.labels)
        repeats = np.where(Classes(codes).has_triplet(), rows.repeats, 0)
        result.anchors = int(np.count_nonzero(repeats))
        result.unmatched = int(np.count_nonzero(rows.repeats)) - result.anchors
        if result.anchors:
            embeddings = self._embed(rows, result)
            if not result.unusable:
                key = int.from_bytes(derive_key(self._settings.seed, split, "triplets", number))
                rng = np.random.Generator(np.random.Philox(key=key))
                triplets = draw_triplets(codes, repeats, rng, self._settings, embeddings)
                records = serialize_triplets(
                    rows.labels.tolist(), rows.ids.tolist(), rows.images.tolist(), triplets
                )
                name = f"triplets-{number:05d}-of-{of:05d}.tfrecord"
                write_shard(records, f"{self._split_dirs[split]}/{name}", self._temp_dir)
                result.triplets = len(triplets.anchor)
        yield split, result

    def _embed(self, rows: Rows, result: OutputStats) -> np.ndarray | None:
        """Embeds the rows of a bucket; notes in `result` what cannot be used."""
        if not self._embedder:
            return None
        try:
            embeddings = self._embedder(rows.images.tolist())
        except UnreadableImageError as error:
            result.unusable = 1
            result.unusable_example = f"{_show(rows.ids[error.number])}: {error.reason}"
            return None
        broken = np.flatnonzero(~np.isfinite(embeddings).all(axis=1))
        if len(broken):
            result.unusable = len(broken)
            result.unusable_example = f"{_show(rows.ids[broken[0]])}: not finite"
        return embeddings


def with_reserve(rows: Rows, reserve: Rows | None) -> Rows:
    """Appends the rows of the reserve that a bucket does not hold already.

    Args:
        rows: Rows of the bucket, sorted.
        reserve: Rows of the reserve of its split, sorted, if the bucket gets it.

    Returns:
        The rows of the bucket followed by those new to it.
    """
    if reserve is None:
        return rows
    known = set(rows.ids.tolist())
    is_new = np.array([i not in known for i in reserve.ids.tolist()], bool)
    return concatenate([rows, reserve.take(is_new)])


def _read(segments: Iterable[tuple[bool, Segment]], *, reserve: bool) -> Rows | None:
    """Reads one kind of segments, sorted; None if there are none."""
    parts = [read_segment(Segment(*place)) for kind, place in segments if kind == reserve]
    return concatenate(parts).sorted() if parts else None


def _show(example_id: bytes) -> str:
    return repr(example_id.decode(errors="replace"))
