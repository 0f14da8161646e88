"""The Beam part of TripletGen: count, assign to buckets, sample, write."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.triplet_gen.buckets import (
    MIN_NEGATIVES,
    BucketPlan,
    as_digests,
    count_buckets,
    derive_key,
    hash_ids,
)
from components.triplet_gen.records import serialize_triplets
from components.triplet_gen.rows import Chunk, Rows, encode_labels, read_batches, unpack
from components.triplet_gen.sampling import sample_triplets
from components.triplet_gen.statistics import (
    InputStats,
    MergeStats,
    OutputStats,
    count_file,
    summarize,
)
from modules.contract import ID, IMAGE, LABEL

_RESERVE = "reserve"
SUMMARY_FILE = "summary.json"


@dataclasses.dataclass(frozen=True)
class Settings:
    """What the sampling of a split depends on, besides the data.

    Attributes:
        triplets_per_anchor: How often each example is an anchor.
        bucket_size: Mean number of examples in a bucket.
        seed: Any integer.
    """

    triplets_per_anchor: int
    bucket_size: int
    seed: int


class AssignToBuckets(beam.DoFn):
    """Reads a file again and cuts it into one chunk per batch and bucket.

    Yields ((split, bucket), chunk), and (split, chunk) with the tag for the reserve.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._plans: dict[str, BucketPlan] = {}

    def process(self, element: tuple[str, str], stats: Mapping[str, InputStats]) -> Iterator[Any]:
        """Assigns the rows of one file; those of a split with a problem are left out."""
        split, path = element
        if stats[split].problem():
            return
        if split not in self._plans:
            self._plans[split] = BucketPlan(
                stats[split].labels, self._settings.bucket_size, self._settings.seed, split
            )
        plan = self._plans[split]
        for batch in read_batches(path):
            digests = as_digests(hash_ids(batch[ID].tolist(), plan.key))
            rows = Rows(digests, batch[LABEL], batch[ID], batch[IMAGE])
            buckets, in_reserve = plan.assign(rows.labels.tolist(), digests)
            order = np.argsort(buckets, kind="stable")
            rows, buckets = rows.take(order), buckets[order]
            numbers, starts = np.unique(buckets, return_index=True)
            stops = [*starts[1:].tolist(), len(buckets)]
            for bucket, start, stop in zip(numbers.tolist(), starts.tolist(), stops, strict=True):
                yield (split, bucket), rows.take(slice(start, stop)).pack()
            if in_reserve.any():
                reserve = rows.take(in_reserve[order]).pack()
                yield beam.pvalue.TaggedOutput(_RESERVE, (split, reserve))


class WriteTriplets(beam.DoFn):
    """Samples the triplets of one bucket and writes them to one file.

    The file is uncompressed: nearly all of its bytes are images, which are compressed already,
    so gzip would cost more time than everything else here and save a few percent.

    It is written under a temporary name and then renamed to the name of the bucket. So a bundle
    that Beam runs twice replaces its own file, and a reader never sees half of one.
    """

    def __init__(self, settings: Settings, split_dirs: Mapping[str, str], temp_dir: str) -> None:
        self._settings = settings
        self._split_dirs = split_dirs
        self._temp_dir = temp_dir

    def process(
        self,
        element: tuple[tuple[str, int], Iterable[Chunk]],
        stats: Mapping[str, InputStats],
        reserve: Sequence[tuple[str, Chunk]],
    ) -> Iterator[tuple[str, OutputStats]]:
        """Writes the file of a bucket and yields (split, its counts)."""
        (split, bucket), chunks = element
        rows = unpack(chunks).sorted()
        codes = encode_labels(rows.labels)
        sizes = np.bincount(codes)
        # Sorted by digest, equal ids are neighbours; with equal labels they share the bucket.
        duplicates = np.flatnonzero((rows.digests[1:] == rows.digests[:-1]).all(axis=1))
        result = OutputStats(duplicates=len(duplicates))
        if len(duplicates):
            result.duplicate = rows.ids[duplicates[0]].decode(errors="replace")

        is_anchor = sizes[codes] > 1
        if len(codes) - sizes.max() < MIN_NEGATIVES:
            rows = with_reserve(rows, [chunk for name, chunk in reserve if name == split])
            codes = encode_labels(rows.labels)
            is_anchor = np.pad(is_anchor, (0, len(codes) - len(is_anchor)))

        if is_anchor.any():
            settings = self._settings
            key = int.from_bytes(derive_key(settings.seed, split, "triplets", bucket))
            triplets = sample_triplets(
                codes,
                is_anchor,
                settings.triplets_per_anchor,
                np.random.Generator(np.random.Philox(key=key)),
            )
            records = serialize_triplets(
                rows.labels.tolist(), rows.ids.tolist(), rows.images.tolist(), triplets
            )
            buckets = count_buckets(stats[split].examples, settings.bucket_size)
            name = f"triplets-{bucket:05d}-of-{buckets:05d}.tfrecord"
            self._write(records, f"{self._split_dirs[split]}/{name}")
            result.triplets = len(triplets.anchor)
            result.anchors = int(is_anchor.sum())
        yield split, result

    def _write(self, records: Iterable[bytes], path: str) -> None:
        temporary = f"{self._temp_dir}/{uuid.uuid4().hex}"
        with tf.io.TFRecordWriter(temporary) as writer:
            for record in records:
                writer.write(record)
        tf.io.gfile.rename(temporary, path, overwrite=True)


def with_reserve(rows: Rows, reserve: Sequence[Chunk]) -> Rows:
    """Appends the rows of the reserve that a bucket does not hold already.

    Args:
        rows: Rows of the bucket, sorted.
        reserve: Chunks of the reserve of its split, in any order.

    Returns:
        The rows of the bucket followed by those new to it, the latter sorted by digest.
    """
    extra = unpack(reserve).sorted()
    known = set(zip(rows.labels.tolist(), rows.ids.tolist(), strict=True))
    pairs = zip(extra.labels.tolist(), extra.ids.tolist(), strict=True)
    extra = extra.take(np.array([pair not in known for pair in pairs], bool))
    return Rows(*(np.concatenate(pair) for pair in zip(rows, extra, strict=True)))


def write_summary(
    _: bytes, path: str, stats: Mapping[str, InputStats], results: Iterable[tuple[str, OutputStats]]
) -> None:
    """Writes all counts to one JSON file: `summarize` of both kinds, see there."""
    with tf.io.gfile.GFile(path, "w") as file:
        json.dump(summarize(stats, results), file)


def make_triplets(
    pipeline: beam.Pipeline,
    files: Sequence[tuple[str, str]],
    settings: Settings,
    split_dirs: Mapping[str, str],
    temp_dir: str,
) -> None:
    """Adds everything to a pipeline: reading, counting, sampling, writing.

    The files are read twice, because the number of blocks of a label must be known before its
    first example can be placed; keeping the images in between would cost more than reading them
    again.

    Args:
        pipeline: Pipeline to add to.
        files: Pairs of split and path of a gzipped TFRecord file, at least one.
        settings: How to sample.
        split_dirs: Existing folder for the triplets of each split.
        temp_dir: Existing folder on the same file system, for files being written and, at last,
            the counts in `SUMMARY_FILE`.
    """
    # Create reshuffles, so that files spread over the workers; only names are kept for the second
    # reading.
    paths = pipeline | "Files" >> beam.Create(files)
    stats = beam.pvalue.AsSingleton(
        paths
        | "Count" >> beam.Map(count_file)
        | "MergeCounts" >> beam.CombineGlobally(MergeStats()).without_defaults()
    )
    chunks = paths | "AssignToBuckets" >> beam.ParDo(AssignToBuckets(settings), stats).with_outputs(
        _RESERVE, main="chunks"
    )
    results = (
        chunks.chunks
        | "GroupByBucket" >> beam.GroupByKey()
        | "WriteTriplets"
        >> beam.ParDo(
            WriteTriplets(settings, dict(split_dirs), temp_dir),
            stats,
            beam.pvalue.AsList(chunks[_RESERVE]),
        )
    )
    _ = (
        pipeline
        | "Once" >> beam.Impulse()
        | "WriteSummary"
        >> beam.Map(write_summary, f"{temp_dir}/{SUMMARY_FILE}", stats, beam.pvalue.AsIter(results))
    )
