"""The Beam part of TripletGen: read and count, assign to buckets, sample, write.

Images and label counts go from step to step in files (see `components.triplet_gen.spool`). Beam
shuffles only the places of the images in these files. Each shuffle is a plain GroupByKey: that
spreads the work over the workers as well as Reshuffle, with fewer steps to set up.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.triplet_gen.anchors import AnchorPlan, smallest_by_label
from components.triplet_gen.buckets import BucketPlan, hash_ids
from components.triplet_gen.rows import Rows, concatenate
from components.triplet_gen.spool import Segment, SegmentWriter, read_rows
from components.triplet_gen.statistics import InputStats, OutputStats, explain
from components.triplet_gen.writing import Bucket, Kind, WriteTriplets
from modules.contract import ID, IMAGE, LABEL
from modules.runtime import work_done
from modules.settings import TripletSettings
from modules.storage import read_examples, read_file, write_file

_Stats = TypeVar("_Stats", InputStats, OutputStats)

# Name of a split, and the fields of a Segment: Beam groups by plain tuples without a warning.
SegmentKey = tuple[str, str, int, int]

# Encoded images that a worker collects before it writes them to a segment, in bytes.
_SEGMENT_BYTES = 32 << 20


class Read(NamedTuple):
    """What was read of a file: its counts, and where its examples are."""

    stats: InputStats
    segments: list[Segment]


class ReadFile(beam.DoFn):
    """Reads a file once: counts its labels, hashes its ids, and keeps its examples in segments.

    What is wrong with the data is counted rather than raised, so that the executor can say it
    without a Beam traceback around it.
    """

    def __init__(self, settings: TripletSettings, temp_dir: str) -> None:
        self._settings = settings
        self._temp_dir = temp_dir

    def process(self, element: tuple[str, Iterable[str]]) -> Iterator[tuple[str, Read]]:
        """Takes (path, splits) and yields (split, Read)."""
        path, splits = element
        for split in splits:
            read = Read(InputStats(), [])
            with SegmentWriter(self._temp_dir) as writer:
                try:
                    for rows in self._pieces(split, path, read.stats):
                        read.segments.append(writer.write_rows(rows))
                except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
                    read.stats.unreadable[path] = explain(error)
            yield split, read

    def _pieces(self, split: str, path: str, stats: InputStats) -> Iterator[Rows]:
        """Yields the examples in pieces of some megabytes, and counts them."""
        batches: list[Rows] = []
        size = record = 0
        for tensors in read_examples(path, absent=b""):
            batch = {name: column.numpy() for name, column in tensors.items()}
            stats.count(batch, path, record)
            record += len(batch[ID])
            work_done.add("images", len(batch[ID]))
            digests = hash_ids(batch[ID].tolist(), self._settings.seed, split)
            repeats = np.zeros(len(digests), np.int64)
            batches.append(Rows(digests, repeats, batch[LABEL], batch[ID], batch[IMAGE]))
            size += sum(map(len, batch[IMAGE].tolist()))
            if size >= _SEGMENT_BYTES:
                yield self._join(batches, stats)
                batches, size = [], 0
        if batches:
            yield self._join(batches, stats)

    def _join(self, batches: list[Rows], stats: InputStats) -> Rows:
        rows = concatenate(batches)
        if limit := self._settings.max_per_class:
            stats.keep_smallest(smallest_by_label(rows.labels, rows.digests, limit), limit)
        return rows


class AssignToBuckets(beam.DoFn):
    """Sorts the examples of a segment by bucket, into one segment for each bucket.

    Equal ids may be in two buckets, when their labels differ. So the ids go once more, sorted by
    their own hash alone, to where all equal ones meet.
    """

    def __init__(self, settings: TripletSettings, temp_dir: str) -> None:
        self._settings = settings
        self._temp_dir = temp_dir
        self._plans: dict[str, tuple[dict[bytes, int], BucketPlan, AnchorPlan]] = {}

    def process(
        self, element: tuple[SegmentKey, Iterable[None]]
    ) -> Iterator[tuple[Bucket, tuple[int, Segment]]]:
        """Takes (segment, …) and yields (bucket, (kind, segment)).

        The reserve is yielded for each bucket that needs it.
        """
        (split, path, offset, length), _ = element
        codes, bucket_plan, anchor_plan = self._plan(split)
        rows = read_rows(Segment(path, offset, length))
        code = np.fromiter(map(codes.__getitem__, rows.labels.tolist()), np.int64, len(rows.labels))
        numbers, in_reserve = bucket_plan.assign(code, rows.digests)
        in_reserve &= bool(bucket_plan.needs_reserve)
        reserve = rows.take(in_reserve)  # never an anchor there, so before `repeats` are known
        rows = rows._replace(repeats=anchor_plan.repeats(code, rows.digests))
        of = bucket_plan.num_buckets
        meeting_points = (rows.digests[:, 0] % np.uint64(of)).astype(np.int64)

        output: list[tuple[Bucket, tuple[int, Segment]]] = []
        with SegmentWriter(self._temp_dir) as writer:
            for number, which in _group(numbers):
                segment = writer.write_rows(rows.take(which))
                output.append(((split, number, of), (int(Kind.ROWS), segment)))
            for number, which in _group(meeting_points):
                segment = writer.write_ids(rows.ids[which].tolist())
                output.append(((split, number, of), (int(Kind.IDS), segment)))
            if in_reserve.any():
                segment = writer.write_rows(reserve)
                kind = int(Kind.RESERVE)
                output += [((split, n, of), (kind, segment)) for n in bucket_plan.needs_reserve]
        yield from output

    def _plan(self, split: str) -> tuple[dict[bytes, int], BucketPlan, AnchorPlan]:
        if split not in self._plans:
            stats = load_result(self._temp_dir, split, InputStats)
            counts, settings = stats.labels, self._settings
            self._plans[split] = (
                {label: code for code, label in enumerate(sorted(counts))},
                BucketPlan(counts, settings.bucket_size, settings.seed, split),
                AnchorPlan(counts, stats.smallest, settings),
            )
        return self._plans[split]


def _group(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each different number and the places where it is, ascending."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)


def _save_counts(
    element: tuple[str, Iterable[Read]], temp_dir: str, settings: TripletSettings
) -> Iterator[tuple[SegmentKey, None]]:
    """Adds up and saves the counts of a split; if they are good, yields its segments as keys."""
    split, reads = element
    stats, segments = InputStats(), []
    for read in reads:
        stats.merge(read.stats, settings.max_per_class)
        segments += read.segments
    _save_result(temp_dir, split, stats)
    anchors = (min(n, settings.max_per_class or n) for n in stats.labels.values() if n > 1)
    work_done.expect("triplets", settings.triplets_per_anchor * sum(anchors))
    if not stats.problem():
        yield from (((split, *segment), None) for segment in segments)


def _save_outputs(element: tuple[str, Iterable[OutputStats]], temp_dir: str) -> None:
    """Adds up and saves the counts of what was written of a split."""
    split, results = element
    stats = OutputStats()
    for result in results:
        stats.merge(result)
    _save_result(temp_dir, split, stats)


def _save_result(temp_dir: str, split: str, result: InputStats | OutputStats) -> None:
    """Saves counts of a split in whole or not at all: two attempts may do it at the same time."""
    write_file(_result_path(temp_dir, split, type(result)), pickle.dumps(result))


def load_result(temp_dir: str, split: str, kind: type[_Stats]) -> _Stats:
    """Loads the counts of a split that `make_triplets` saved; none is a count of nothing.

    Args:
        temp_dir: As given to `make_triplets`.
        split: Name of the split.
        kind: `InputStats` or `OutputStats`.

    Returns:
        The counts over all files or buckets of the split.
    """
    path = _result_path(temp_dir, split, kind)
    if not tf.io.gfile.exists(path):
        return kind()
    return pickle.loads(read_file(path))


def _result_path(temp_dir: str, split: str, kind: type) -> str:
    return f"{temp_dir}/{kind.__name__}-{split}"


def make_triplets(
    pipeline: beam.Pipeline,
    files: Sequence[tuple[str, str]],
    settings: TripletSettings,
    split_dirs: Mapping[str, str],
    temp_dir: str,
    model: str | None = None,
) -> None:
    """Adds everything to a pipeline: reading, counting, sampling, writing.

    The number of groups of a label must be known before its first example can be placed. So the
    first step keeps the examples in files, which costs less than reading the input again.

    Args:
        pipeline: Pipeline to add to.
        files: Pairs of split and path of a gzipped TFRecord file, at least one.
        settings: How to sample.
        split_dirs: Existing folder for the triplets of each split.
        temp_dir: Existing folder on the same file system, reached by all workers. It takes twice
            the bytes of the examples and, at last, the counts that `load_result` loads.
        model: Folder of a SavedModel, if `settings.needs_model`.
    """
    _ = (
        pipeline
        | "Files" >> beam.Create([(path, split) for split, path in files], reshuffle=False)
        | "SpreadFiles" >> beam.GroupByKey()
        | "ReadFile" >> beam.ParDo(ReadFile(settings, temp_dir))
        | "GroupCounts" >> beam.GroupByKey()
        | "SaveCounts" >> beam.FlatMap(_save_counts, temp_dir, settings)
        | "SpreadSegments" >> beam.GroupByKey()
        | "AssignToBuckets" >> beam.ParDo(AssignToBuckets(settings, temp_dir))
        | "GroupByBucket" >> beam.GroupByKey()
        | "WriteTriplets" >> beam.ParDo(WriteTriplets(settings, dict(split_dirs), temp_dir, model))
        | "GroupOutputs" >> beam.GroupByKey()
        | "SaveOutputs" >> beam.Map(_save_outputs, temp_dir)
    )
