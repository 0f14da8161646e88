"""The Beam part of TripletGen: read and count, assign to buckets, sample, write.

Images and label counts go from step to step in files (see `components.triplet_gen.spool`). Beam
shuffles only the places of the images in these files. Each shuffle is a plain GroupByKey: that
spreads the work over the workers as well as Reshuffle, with fewer steps to set up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import apache_beam as beam

from components.triplet_gen.assigning import AssignToBuckets
from components.triplet_gen.embedding_classes import EmbedClasses, save_centroids
from components.triplet_gen.reading import Read, ReadFile
from components.triplet_gen.results import save_result
from components.triplet_gen.spool import SegmentKey
from components.triplet_gen.statistics import InputStats, OutputStats
from components.triplet_gen.writing import WriteTriplets
from modules.models import SharedEmbedder
from modules.runtime import work_done
from modules.settings import TripletSettings


def _save_counts(
    element: tuple[None, Iterable[Read]], temp_dir: str, settings: TripletSettings
) -> Iterator[tuple[SegmentKey, None]]:
    """Adds up and saves the counts; if they are good, yields the segments as keys."""
    reads = list(element[1])
    stats = InputStats()
    stats.merge([read.stats for read in reads], settings)
    segments = [segment for read in reads for segment in read.segments]
    save_result(temp_dir, stats)
    if not stats.problem():
        train = stats.validation_plan(settings).train.values()
        anchors = (min(n, settings.max_per_class or n) for n in train if n > 1)
        work_done.expect("triplets", settings.triplets_per_anchor * sum(anchors))
        yield from (((segment.path, segment.offset, segment.length), None) for segment in segments)


def _save_outputs(element: tuple[str, Iterable[OutputStats]], temp_dir: str) -> None:
    """Adds up and saves the counts of what was written of a part."""
    part, results = element
    stats = OutputStats()
    for result in results:
        stats.merge(result)
    save_result(temp_dir, stats, part)


def make_triplets(
    pipeline: beam.Pipeline,
    files: Sequence[str],
    eval_files: Sequence[str],
    settings: TripletSettings,
    folders: Mapping[str, str],
    temp_dir: str,
    model: str | None = None,
    suspects: frozenset[bytes] = frozenset(),
) -> None:
    """Adds everything to a pipeline: reading, counting, sampling, writing.

    The number of groups of a label must be known before its first example can be placed. So the
    first step keeps the examples in files, which costs less than reading the input again.

    Args:
        pipeline: Pipeline to add to.
        files: Paths of gzipped TFRecord files with the train split, at least one.
        eval_files: The same of the eval split; their labels are read.
        settings: How to hold out and to sample.
        folders: Existing folder by name of the part.
        temp_dir: Existing folder on the same file system, reached by all workers. It takes twice
            the bytes of the examples and, at last, the counts that `load_result` loads.
        model: Folder of a SavedModel, if `settings.needs_model`.
        suspects: Ids of images that are not mined as negatives.
    """
    paths = [((path, False), None) for path in files]
    paths += [((path, True), None) for path in eval_files]
    embedder = SharedEmbedder(model) if model else None
    segments = (
        pipeline
        | "Files" >> beam.Create(paths, reshuffle=False)
        | "SpreadFiles" >> beam.GroupByKey()
        | "ReadFile" >> beam.ParDo(ReadFile(settings, temp_dir))
        | "GroupCounts" >> beam.GroupByKey()
        | "SaveCounts" >> beam.FlatMap(_save_counts, temp_dir, settings)
    )
    if embedder and settings.buckets == "neighbourhood":
        segments = (
            segments
            | "SpreadSample" >> beam.GroupByKey()
            | "EmbedClasses" >> beam.ParDo(EmbedClasses(settings, temp_dir, embedder))
            | "GroupCentroids" >> beam.GroupByKey()
            | "SaveCentroids" >> beam.FlatMap(save_centroids, temp_dir)
        )
    miner = embedder if settings.mines else None
    write = WriteTriplets(settings, dict(folders), temp_dir, miner, suspects)
    _ = (
        segments
        | "SpreadSegments" >> beam.GroupByKey()
        | "AssignToBuckets" >> beam.ParDo(AssignToBuckets(settings, temp_dir))
        | "GroupByBucket" >> beam.GroupByKey()
        | "WriteTriplets" >> beam.ParDo(write)
        | "GroupOutputs" >> beam.GroupByKey()
        | "SaveOutputs" >> beam.Map(_save_outputs, temp_dir)
    )
