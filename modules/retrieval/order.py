"""Labelled embeddings in Beam, ordered by id without one process holding all of them.

A sample of the ids gives boundaries. One shuffle brings each range of ids together, and a sorted
range is a few shards whose positions are known. So ties are ordered by id among all shards, an id
that occurs twice is found, and no result depends on how a runner batches or spreads the rows.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.transforms.window import GlobalWindows
from apache_beam.utils.windowed_value import WindowedValue

from modules.retrieval.coders import ArraysCoder
from modules.retrieval.embedding_files import StoreEmbeddings
from modules.retrieval.groups import (
    GroupKey,
    GroupNumbers,
    gallery_groups,
    group_keys,
    number_groups,
    query_groups,
)
from modules.retrieval.rows import LabelledRows, QueryRows, concatenate
from modules.retrieval.shards import MAX_POSITION, Shard, reject_repeated
from modules.runtime import work_done

EVALUATED = "evaluated examples"
_SAMPLE = 65_536  # ids that boundaries are taken from
_RANGE_SHARDS = 4  # in one range: with fewer, smaller parts would be shuffled
_DEALT_ROWS = 16_384
_RANGE_BITS = 19  # rows in one range of ids; the other bits of a position number the ranges
_RANGES = (MAX_POSITION + 1) >> _RANGE_BITS

for _rows in (LabelledRows, QueryRows, Shard):
    beam.coders.registry.register_coder(_rows, ArraysCoder)

_Sample = list[tuple[np.ndarray, np.ndarray]]  # hashes uint64 and ids, in parts
# Rows by label, some of the ids, the groups of each column.
_Counted = tuple[Counter[bytes | str], _Sample, list[set[GroupKey]]]


@dataclass(frozen=True)
class _Census:
    """What must be known of a set before its rows are ordered.

    Attributes:
        boundaries: Ids at which a new range begins, ascending.
        labels: Object array, ascending, unique: the number of a class is its label's place.
        members: int64, how many rows have each label.
        groups: Their numbers.

    Labels are in arrays since Beam's cache of side inputs weighs every object that it can reach,
    and arrays hide theirs.
    """

    boundaries: np.ndarray
    labels: np.ndarray
    members: np.ndarray
    groups: GroupNumbers

    def classes_of(self, labels: np.ndarray) -> np.ndarray:
        """Numbers of the classes, int32 [N]; −1 for labels that the set does not have."""
        numbers = dict(zip(self.labels.tolist(), range(len(self.labels)), strict=True))
        return np.array([numbers.get(label, -1) for label in labels.tolist()], np.int32)


def blocks_and_shards(
    queries: beam.PCollection,
    gallery: beam.PCollection | None,
    query_rows: int,
    shard_rows: int,
    folder: str,
    exclude_same: Sequence[str] = (),
) -> tuple[beam.PCollection, beam.PCollection]:
    """Orders queries and gallery by id.

    Args:
        queries: PCollection of LabelledRows.
        gallery: PCollection of LabelledRows with the same models; None if it is the queries.
        query_rows: The largest number of queries in a block.
        shard_rows: The largest number of rows in a shard.
        folder: As for `StoreEmbeddings`.
        exclude_same: Features that make groups, see `modules.retrieval.groups`.

    Returns:
        PCollections of QueryRows and of Shards, with places for embeddings: `SearchTogether`.
    """
    same = tuple(exclude_same)
    queries = queries | "StoreQueries" >> StoreEmbeddings(folder)
    if gallery is None:
        counted = census = queries | "Census" >> _take_census(EVALUATED, shard_rows, same)
        query_ranges = ranges = queries | "Order" >> _OrderById(counted)
    else:
        gallery = gallery | "StoreGallery" >> StoreEmbeddings(folder)
        census = gallery | "GalleryCensus" >> _take_census("gallery examples", shard_rows, same)
        counted = queries | "Census" >> _take_census(EVALUATED, shard_rows)
        ranges = gallery | "OrderGallery" >> _OrderById(census)
        query_ranges = queries | "Order" >> _OrderById(counted)
    as_census = beam.pvalue.AsSingleton(census)
    shards = ranges | "Shards" >> beam.FlatMap(
        _shards, as_census, shard_rows, same
    ).with_output_types(Shard)
    blocks = query_ranges | "QueryBlocks" >> beam.FlatMap(
        _query_blocks, as_census, query_rows, same
    ).with_output_types(QueryRows)
    return blocks | "SpreadBlocks" >> beam.Reshuffle(), shards


class OrderById(beam.PTransform):
    """PCollection of LabelledRows → PCollection of (position, LabelledRows), ordered by id.

    Args:
        name: What the rows are, for messages.
        shard_rows: The most rows of an element. Positions are not dense, but ascend as ids do.

    Raises:
        ValueError: At run time: no rows, or a repeated id.
    """

    def __init__(self, name: str, shard_rows: int) -> None:
        super().__init__()
        self._name, self._shard_rows = name, shard_rows

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        """Orders ranges of ids, and cuts each."""
        census = rows | "Census" >> _take_census(self._name, self._shard_rows)
        return rows | "Order" >> _OrderById(census) | "Cut" >> beam.FlatMap(_cut, self._shard_rows)


def _cut(ordered: tuple[int, LabelledRows], shard_rows: int) -> Iterator[tuple[int, LabelledRows]]:
    number, rows = ordered
    for start in range(0, len(rows.ids), shard_rows):
        yield (number << _RANGE_BITS) + start, rows.take(slice(start, start + shard_rows))


@beam.ptransform_fn
def _take_census(
    rows: beam.PCollection, name: str, shard_rows: int, exclude_same: tuple[str, ...] = ()
) -> beam.PCollection:  # one _Census
    return (
        rows
        | "IdsAndLabels"
        >> beam.Map(
            lambda batch: (batch.ids, batch.labels, *(batch.features[n] for n in exclude_same))
        )
        | "Count" >> beam.CombineGlobally(_CensusFn(name, shard_rows, len(exclude_same)))
    )


class _CensusFn(beam.CombineFn):
    """Counts rows by label, samples ids by their hash, and lists the groups."""

    def __init__(self, name: str, shard_rows: int, columns: int = 0) -> None:
        self._name, self._shard_rows, self._columns = name, shard_rows, columns

    def create_accumulator(self) -> _Counted:
        return Counter(), [], [set() for _ in range(self._columns)]

    def add_input(self, accumulator: _Counted, element: tuple[np.ndarray, ...]) -> _Counted:
        counts, sample, groups = accumulator
        ids, labels, *columns = element
        counts.update(labels.tolist())
        sample.append((_scatter(ids), ids))
        for keys, values in zip(groups, columns, strict=True):
            keys |= group_keys(labels, values)
        return counts, _smallest(sample), groups

    def merge_accumulators(self, accumulators: Iterable[_Counted]) -> _Counted:
        counts, sample, groups = self.create_accumulator()
        for other_counts, other_sample, other_groups in accumulators:
            counts.update(other_counts)
            sample = _smallest(sample + other_sample)
            groups = [keys | others for keys, others in zip(groups, other_groups, strict=True)]
        return counts, sample, groups

    def extract_output(self, accumulator: _Counted) -> _Census:
        counts, sample, groups = accumulator
        total = counts.total()
        if not total:
            raise ValueError(f"there are no {self._name}: there is nothing to retrieve")
        work_done.expect(self._name, total)
        ids = sorted(_smallest(sample, 1)[0][1])
        ranges = min(-(-total // (_RANGE_SHARDS * self._shard_rows)), _RANGES, len(ids))
        boundaries = [ids[i * len(ids) // ranges] for i in range(1, ranges)]
        labels = sorted(counts)
        members = np.array([counts[label] for label in labels], np.int64)
        return _Census(_objects(boundaries), _objects(labels), members, number_groups(groups))


def _objects(values: list[Any]) -> np.ndarray:
    result = np.empty(len(values), dtype=object)
    result[:] = values
    return result


def _smallest(sample: _Sample, slack: int = 2) -> _Sample:
    """Cuts a sample that has grown beyond `slack` times its size, and then makes it one part."""
    if slack > 1 and sum(len(ids) for _, ids in sample) <= slack * _SAMPLE:
        return sample
    hashes, ids = (np.concatenate(parts) for parts in zip(*sample, strict=True))
    if len(ids) > _SAMPLE:
        chosen = np.argpartition(hashes, _SAMPLE)[:_SAMPLE]
        hashes, ids = hashes[chosen], ids[chosen]
    return [(hashes, ids)]


def _scatter(ids: np.ndarray) -> np.ndarray:
    """Quick hashes of ids, uint64, the same in every process: CRC-32, mixed as by SplitMix64."""
    data = [id_ if isinstance(id_, bytes) else id_.encode() for id_ in ids]
    mixed = np.fromiter(map(zlib.crc32, data), np.uint64, len(data))
    mixed *= np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    return mixed ^ (mixed >> np.uint64(27))


def hash_id(example_id: bytes | str) -> int:
    """A hash of an id that is the same in every process: 8 bytes of BLAKE2b."""
    data = example_id if isinstance(example_id, bytes) else example_id.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


class _OrderById(beam.PTransform):
    """LabelledRows → (number of the range of ids, LabelledRows ordered by id)."""

    def __init__(self, census: beam.PCollection) -> None:
        super().__init__()
        self._census = census

    def expand(self, rows: beam.PCollection) -> beam.PCollection:
        return (
            rows
            | "Split"
            >> beam.ParDo(_Split(), beam.pvalue.AsSingleton(self._census)).with_output_types(
                tuple[int, LabelledRows]
            )
            | "Gather" >> beam.GroupByKey()
            | "Sort" >> beam.MapTuple(_sort)
        )


class _Split(beam.DoFn):
    """Deals rows to their ranges, many at once, so that few and large parts are shuffled."""

    def start_bundle(self) -> None:
        self._waiting: list[LabelledRows] = []

    def process(self, rows: LabelledRows, census: _Census) -> Iterator[tuple[int, LabelledRows]]:
        self._census = census
        self._waiting.append(rows)
        if sum(len(part.ids) for part in self._waiting) >= _DEALT_ROWS:
            yield from self._deal()

    def finish_bundle(self) -> Iterator[WindowedValue]:
        for part in self._deal():
            yield GlobalWindows.windowed_value(part)

    def _deal(self) -> Iterator[tuple[int, LabelledRows]]:
        if not self._waiting:
            return
        rows = concatenate(self._waiting)
        self._waiting = []
        numbers = np.searchsorted(self._census.boundaries, rows.ids, side="right")
        for number in np.unique(numbers):
            yield int(number), rows.take(np.flatnonzero(numbers == number))


def _sort(number: int, parts: Iterable[LabelledRows]) -> tuple[int, LabelledRows]:
    rows = concatenate(list(parts))
    if len(rows.ids) > 1 << _RANGE_BITS:
        raise ValueError(
            f"{len(rows.ids)} examples fell into one of {_RANGES} ranges of ids, which have room "
            f"for {1 << _RANGE_BITS} each: there are too many examples for one gallery"
        )
    rows = rows.take(np.argsort(rows.ids, kind="stable"))
    reject_repeated(rows.ids)
    return number, rows


def _shards(
    ordered: tuple[int, LabelledRows],
    census: _Census,
    shard_rows: int,
    exclude_same: tuple[str, ...],
) -> Iterator[Shard]:
    number, rows = ordered
    classes = census.classes_of(rows.labels)
    columns = [rows.features[name] for name in exclude_same]
    groups = gallery_groups(rows.labels, columns, census.groups)
    for start in range(0, len(rows.ids), shard_rows):
        stop = start + shard_rows
        yield Shard(
            (number << _RANGE_BITS) + start,
            rows.ids[start:stop],
            classes[start:stop],
            {model: values[start:stop] for model, values in rows.embeddings.items()},
            groups[start:stop],
        )


def _query_blocks(
    ordered: tuple[int, LabelledRows],
    census: _Census,
    query_rows: int,
    exclude_same: tuple[str, ...],
) -> Iterator[QueryRows]:
    _, rows = ordered
    classes = census.classes_of(rows.labels)
    members = np.where(classes < 0, 0, census.members[classes])
    columns = [rows.features[name] for name in exclude_same]
    groups = query_groups(rows.labels, columns, census.groups)
    for start in range(0, len(rows.ids), query_rows):
        block = slice(start, start + query_rows)
        yield QueryRows(rows.take(block), classes[block], members[block], groups[block])
