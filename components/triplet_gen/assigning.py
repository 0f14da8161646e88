"""The second step of TripletGen's Beam pipeline: examples are dealt out to parts and buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import apache_beam as beam
import numpy as np

from components.triplet_gen.anchors import AnchorPlan
from components.triplet_gen.buckets import BucketPlan
from components.triplet_gen.hashes import ORDER, RANK
from components.triplet_gen.neighbourhood import Centroids
from components.triplet_gen.results import load_result
from components.triplet_gen.spool import Segment, SegmentKey, SegmentWriter, read_rows
from components.triplet_gen.statistics import InputStats
from components.triplet_gen.validation import PARTS, TRAIN, ValidationPlan
from components.triplet_gen.writing import Bucket, Kind
from modules.settings import TripletSettings


class Plans(NamedTuple):
    """Where each example goes, and how often it is an anchor there.

    Attributes:
        codes: Number of each label among the sorted ones.
        validation: What is held out.
        buckets: By name of the part.
        anchors: Of the train part.
    """

    codes: dict[bytes, int]
    validation: ValidationPlan
    buckets: dict[str, BucketPlan]
    anchors: AnchorPlan


def _make_plans(stats: InputStats, settings: TripletSettings, centroids: Centroids | None) -> Plans:
    validation = stats.validation_plan(settings)
    counts = dict(zip(PARTS, (validation.train, validation.validation), strict=True))
    return Plans(
        {label: code for code, label in enumerate(sorted(stats.labels))},
        validation,
        {
            part: BucketPlan(
                counts[part],
                settings.bucket_size,
                settings.seed,
                part,
                centroids if part == TRAIN else None,
            )
            for part in PARTS
        },
        AnchorPlan(validation.train, stats.highest.by_label(), settings),
    )


class AssignToBuckets(beam.DoFn):
    """Deals the examples of a segment out to parts and buckets, one segment for each bucket.

    Equal ids may be in two buckets, when their labels differ. So the ids go once more, sorted by
    their own hash alone, to where all equal ones meet.
    """

    def __init__(self, settings: TripletSettings, temp_dir: str) -> None:
        self._settings = settings
        self._temp_dir = temp_dir
        self._plans: Plans | None = None

    def process(
        self, element: tuple[SegmentKey, Iterable[None]]
    ) -> Iterator[tuple[Bucket, tuple[int, Segment]]]:
        """Takes (segment, …) and yields (bucket, (kind, segment)).

        The reserve is yielded for each bucket of the train part that needs it.
        """
        if not self._plans:
            near = self._settings.buckets == "neighbourhood"
            self._plans = _make_plans(
                load_result(self._temp_dir, InputStats),
                self._settings,
                load_result(self._temp_dir, Centroids) if near else None,
            )
        plans = self._plans
        rows = read_rows(Segment(*element[0]))
        code = np.fromiter(
            map(plans.codes.__getitem__, rows.labels.tolist()), np.int64, len(rows.labels)
        )
        held = plans.validation.is_held_out(code, rows.digests[:, RANK])
        repeats = np.where(held, 0, plans.anchors.repeats(code, rows.digests))
        rows = rows._replace(repeats=repeats)

        output: list[tuple[Bucket, tuple[int, Segment]]] = []
        with SegmentWriter(self._temp_dir) as writer:
            for part, is_there in zip(PARTS, (~held, held), strict=True):
                plan, places = plans.buckets[part], np.flatnonzero(is_there)
                numbers, in_reserve = plan.assign(code[places], rows.digests[places])
                for number, which in _group(numbers):
                    segment = writer.write_rows(rows.take(places[which]))
                    output.append(((part, number, plan.num_buckets), (int(Kind.ROWS), segment)))
                if part == TRAIN and plan.needs_reserve and in_reserve.any():
                    segment = writer.write_rows(rows.take(places[in_reserve]))
                    output += [
                        ((part, number, plan.num_buckets), (int(Kind.RESERVE), segment))
                        for number in plan.needs_reserve
                    ]
            of = plans.buckets[TRAIN].num_buckets
            meeting_points = (rows.digests[:, ORDER] % np.uint64(of)).astype(np.int64)
            for number, which in _group(meeting_points):
                segment = writer.write_ids(rows.ids[which].tolist())
                output.append(((TRAIN, number, of), (int(Kind.IDS), segment)))
        yield from output


def _group(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yields each different number and the places where it is, ascending."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    if len(found):  # np.split would make one empty part of nothing
        yield from zip(found.tolist(), np.split(order, starts[1:]), strict=True)
