"""The last step of TripletGen's Beam pipeline: the triplets of one bucket, written to a file."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
import numpy as np
from apache_beam.utils import shared

from components.triplet_gen.buckets import derive_key
from components.triplet_gen.embedding import Embedder, UnreadableImageError
from components.triplet_gen.framing import frame
from components.triplet_gen.rows import Rows, concatenate, encode_labels
from components.triplet_gen.sampling import Classes, TripletIndices, draw_triplets
from components.triplet_gen.serialization import serialize_triplets
from components.triplet_gen.spool import Segment, read_ids, read_rows
from components.triplet_gen.statistics import OutputStats
from modules.runtime import work_done
from modules.settings import TripletSettings
from modules.storage import write_file

# Name of the split, number of the bucket, number of buckets of the split.
Bucket = tuple[str, int, int]


class Kind(enum.IntEnum):
    """What a segment that goes to a bucket holds."""

    ROWS = 0  # the examples of the bucket
    RESERVE = 1  # examples that may join it
    IDS = 2  # ids of any examples, to be compared here: equal ones come to the same bucket


class WriteTriplets(beam.DoFn):
    """Makes the triplets of a bucket and writes them to files named after the bucket.

    It is one file, unless `class_balanced` asks for many more triplets than the bucket has
    examples; see `cut`.
    """

    def __init__(
        self,
        settings: TripletSettings,
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
        self, element: tuple[Bucket, Iterable[tuple[int, Segment]]]
    ) -> Iterator[tuple[str, OutputStats]]:
        """Writes the files of a bucket and yields (split, its counts)."""
        bucket, segments = element
        of_kind: dict[int, list[Segment]] = {kind: [] for kind in Kind}
        for kind, place in segments:
            of_kind[kind].append(Segment(*place))
        result = OutputStats()
        result.compare([i for segment in of_kind[Kind.IDS] for i in read_ids(segment)])
        rows = _read(of_kind[Kind.ROWS])
        if rows is not None:  # some buckets get ids only, since all their groups are empty
            self._write(bucket, rows, _read(of_kind[Kind.RESERVE]), result)
        yield bucket[0], result

    def _write(self, bucket: Bucket, rows: Rows, reserve: Rows | None, result: OutputStats) -> None:
        """Writes the triplets of the rows of a bucket and counts them in `result`."""
        split, number, of = bucket
        result.examples = len(rows.ids)
        rows = with_reserve(rows, reserve)
        codes = encode_labels(rows.labels)
        repeats = np.where(Classes(codes).has_triplet(), rows.repeats, 0)
        result.anchors = int(np.count_nonzero(repeats))
        result.unmatched = int(np.count_nonzero(rows.repeats)) - result.anchors
        if not result.anchors:
            return
        embeddings = self._embed(rows, result)
        if result.unusable:
            return
        key = int.from_bytes(derive_key(self._settings.seed, split, "triplets", number))
        rng = np.random.Generator(np.random.Philox(key=key))
        triplets = draw_triplets(codes, repeats, rng, self._settings, embeddings)
        columns = (rows.labels.tolist(), rows.ids.tolist(), rows.images.tolist())
        parts = cut(triplets, self._settings, result.examples)
        for place, part in enumerate(parts):
            name = f"triplets-{number:05d}-of-{of:05d}"
            if len(parts) > 1:
                name += f"-part-{place:05d}-of-{len(parts):05d}"
            records = serialize_triplets(*columns, part)
            path = f"{self._split_dirs[split]}/{name}.tfrecord"
            # A bundle that Beam runs twice replaces its own file. The unfinished one lies where no
            # reader of the split looks.
            write_file(path, frame(records), temp_dir=self._temp_dir)
        result.triplets = len(triplets.anchor)
        work_done.add("triplets", result.triplets)

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


def cut(triplets: TripletIndices, settings: TripletSettings, examples: int) -> list[TripletIndices]:
    """Cuts the triplets of a bucket into parts of a bounded size.

    A bucket of n examples has at most t · n triplets, t = `triplets_per_anchor`, when all are
    anchors equally often. Under `class_balanced` it can have any number, as when one of two classes
    has two examples only: half of all triplets. So a part has at most t · max(2 · `bucket_size`, n)
    triplets, and all parts the same number, up to one.

    Args:
        triplets: Those of the bucket, in the order of the file.
        settings: `triplets_per_anchor` and `bucket_size` count here.
        examples: Number n of examples of the bucket.

    Returns:
        The parts, in order; one if that is enough.
    """
    limit = settings.triplets_per_anchor * max(2 * settings.bucket_size, examples)
    parts = -(-len(triplets.anchor) // limit)
    columns = (np.array_split(column, parts) for column in triplets)
    return [TripletIndices(*part) for part in zip(*columns, strict=True)]


def _read(segments: Iterable[Segment]) -> Rows | None:
    """Reads segments of rows, sorted; None if there are none."""
    parts = [read_rows(segment) for segment in segments]
    return concatenate(parts).sorted() if parts else None


def _show(example_id: bytes) -> str:
    return repr(example_id.decode(errors="replace"))
