"""The TFMA metric of the operating point: its threshold, and the errors at it in every slice.

It stands beside `RetrievalMetrics`, which has the option `false_accept_rate`, in an EvalConfig.
`modules.retrieval.operating_threshold` and `modules.retrieval.pair_bootstrap` say how the threshold
and the intervals are found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types

from modules.retrieval.accept_counts import PAIR_COUNTS
from modules.retrieval.definitions import OPERATING_SET_NAMES, OPERATING_SLICE_NAMES
from modules.retrieval.extractors import ACCEPTS_KEY, SET_KEY
from modules.retrieval.sets import SetMetrics


class OperatingPointMetrics(metric_types.Metric):
    """The operating point of every model, and its errors in every slice.

    Every slice has `OPERATING_SLICE_NAMES`: with the pairs of the slice's queries and all of their
    neighbours, FAR = accepted pairs of two classes / pairs of two classes, FRR = rejected pairs of
    one class / pairs of one class, and how many pairs there are of either kind. NaN without a pair.
    Each model has the threshold of its own that all queries together give it. That threshold, and
    the ends of intervals, `OPERATING_SET_NAMES`, are NaN in every slice but that of all queries.
    """

    def __init__(self) -> None:
        super().__init__(_computations)

    @property
    def compute_confidence_interval(self) -> bool:
        """It has intervals of its own: TFMA would resample queries, and pairs are of classes."""
        return False


def _computations(model_names: Sequence[str] | None = None) -> metric_types.MetricComputations:
    """Makes one computation per model."""
    return [
        metric_types.MetricComputation(
            keys=[_key(name, model) for name in (*OPERATING_SLICE_NAMES, *OPERATING_SET_NAMES)],
            preprocessors=[_OfModel(model)],
            combiner=_Combine(model),
        )
        for model in model_names or [""]
    ]


def _key(name: str, model: str) -> metric_types.MetricKey:
    # `example_weighted` as RetrievalMetrics has it.
    return metric_types.MetricKey(name, model_name=model, example_weighted=None)


class _OfModel(metric_types.Preprocessor):
    """Takes one model's part out of an extract."""

    def __init__(self, model: str) -> None:
        super().__init__(name=f"accepted pairs of model {model!r}")
        self._model = model

    def process(self, extracts: dict[str, Any]) -> Iterator[np.ndarray | SetMetrics]:
        if SET_KEY in extracts:
            yield extracts[SET_KEY]
        else:
            yield extracts[ACCEPTS_KEY][self._model]


@dataclass
class _Sums:
    """What a slice has gathered: int64 [4] counts of pairs; metrics of the set for all queries."""

    pairs: np.ndarray = field(default_factory=lambda: np.zeros(len(PAIR_COUNTS), np.int64))
    of_set: SetMetrics | None = None


class _Combine(beam.CombineFn):
    """Adds up the pairs of a slice's queries."""

    def __init__(self, model: str) -> None:
        self._model = model

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, sums: _Sums, element: np.ndarray | SetMetrics) -> _Sums:
        if isinstance(element, SetMetrics):
            sums.of_set = element
        else:
            sums.pairs = sums.pairs + element
        return sums

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = self.create_accumulator()
        for sums in accumulators:
            merged.pairs = merged.pairs + sums.pairs
            merged.of_set = merged.of_set or sums.of_set
        return merged

    def extract_output(self, sums: _Sums) -> dict[metric_types.MetricKey, float]:
        genuine, impostors, accepted_genuine, accepted_impostors = map(int, sums.pairs)
        values = (
            accepted_impostors / impostors if impostors else math.nan,
            (genuine - accepted_genuine) / genuine if genuine else math.nan,
            float(genuine),
            float(impostors),
        )
        of_set = sums.of_set.by_model[self._model] if sums.of_set else {}
        found = dict(zip(OPERATING_SLICE_NAMES, values, strict=True))
        found |= {name: of_set.get(name, math.nan) for name in OPERATING_SET_NAMES}
        return {_key(name, self._model): value for name, value in found.items()}
