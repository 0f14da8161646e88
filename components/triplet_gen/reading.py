"""The first step of TripletGen's Beam pipeline: every file is read once, and counted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.triplet_gen.hashes import RANK, hash_ids
from components.triplet_gen.ranks import Ranks
from components.triplet_gen.rows import Rows, concatenate
from components.triplet_gen.spool import Segment, SegmentWriter
from components.triplet_gen.statistics import InputStats
from modules.contract import ID, IMAGE, LABEL
from modules.runtime import explain, work_done
from modules.settings import TripletSettings
from modules.storage import read_examples

# Encoded images that a worker collects before it writes them to a segment, in bytes.
_SEGMENT_BYTES = 32 << 20


class Read(NamedTuple):
    """What was read of a file: its counts, and where its examples are."""

    stats: InputStats
    segments: list[Segment]


class ReadFile(beam.DoFn):
    """Reads a file once: counts its labels, hashes its ids, and keeps its examples in segments.

    Of a file of the eval split only the labels are read. What is wrong with the data is counted
    rather than raised, so that the executor can say it without a Beam traceback around it.
    """

    def __init__(self, settings: TripletSettings, temp_dir: str) -> None:
        self._settings = settings
        self._temp_dir = temp_dir

    def process(
        self, element: tuple[tuple[str, bool], Iterable[None]]
    ) -> Iterator[tuple[None, Read]]:
        """Takes ((path, whether it is of the eval split), …) and yields (None, Read)."""
        (path, is_eval), _ = element
        read = Read(InputStats(), [])
        with SegmentWriter(self._temp_dir) as writer:
            try:
                if is_eval:
                    for batch in read_examples(path, [LABEL], absent=b""):
                        read.stats.eval_labels.update(batch[LABEL].numpy().tolist())
                else:
                    for rows in self._pieces(path, read.stats):
                        read.segments.append(writer.write_rows(rows))
            except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
                read.stats.unreadable[path] = explain(error)
        yield None, read

    def _pieces(self, path: str, stats: InputStats) -> Iterator[Rows]:
        """Yields the examples in pieces of some megabytes, and counts them."""
        batches: list[Rows] = []
        size = record = 0
        for tensors in read_examples(path, absent=b""):
            batch = {name: column.numpy() for name, column in tensors.items()}
            stats.count(batch, path, record)
            record += len(batch[ID])
            work_done.add("images", len(batch[ID]))
            digests = hash_ids(batch[ID].tolist(), self._settings.seed)
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
        ranks = Ranks(rows.labels, rows.digests[:, RANK])
        stats.keep_ranks([ranks], [ranks], self._settings)
        return rows
