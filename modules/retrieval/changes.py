"""The TFMA metric that says how sure the change from the last blessed model is.

It stands beside `RetrievalMetrics` in an EvalConfig and has values where there is a baseline only.
`modules.retrieval.class_bootstrap` says how the intervals are found.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2
from tensorflow_model_analysis.utils import model_util

from modules.contract import ID, LABEL
from modules.retrieval.class_bootstrap import change_intervals
from modules.retrieval.definitions import (
    INTERVAL_LEVEL,
    RESAMPLED_CLASSES,
    RESAMPLED_QUERIES,
    lower_end,
    score_names,
    upper_end,
)
from modules.retrieval.extractors import SCORES_KEY, SET_KEY

# Parts of a class whose queries are drawn together where there is one class only: a bound on
# memory. Classes of fewer images have a query or two in each.
_PARTS = 256

_Key = TypeVar("_Key")
# Label, part of the class, and the difference of the scores of a query.
_Difference = tuple[bytes | str, int, np.ndarray]


class RetrievalChanges(metric_types.Metric):
    """The interval of candidate − baseline for every score of queries, in every slice.

    The keys are diffs, as TFMA's own differences are, so thresholds of change bind to them, and do
    not where there is no baseline: `NAME lower` and `NAME upper` for `score_names(ks)`, and
    `RESAMPLED_CLASSES`, `RESAMPLED_QUERIES`, `INTERVAL_LEVEL`.

    A slice with queries of two classes or more resamples classes. A slice with one class, such as
    each of `label`, resamples its queries: its interval speaks of this class, of which there is no
    other to draw, and takes its queries for independent. Queries with R = 0 have no part. Fewer
    than `LEAST_CLASSES` of what is resampled have no interval.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10), level: float = 0.95) -> None:
        """Checks the arguments.

        Args:
            ks: The values of k, those of `RetrievalMetrics`.
            level: Part of intervals that hold the true change.

        Raises:
            ValueError: `ks` as in `score_names`, or `level` is not between 0 and 1.
        """
        score_names(ks)
        if not 0 < level < 1:
            raise ValueError(f"level must be above 0 and below 1, got {level}")
        super().__init__(_computations, ks=list(ks), level=level)

    @property
    def compute_confidence_interval(self) -> bool:
        """An interval has no interval."""
        return False


def _computations(
    ks: Sequence[int],
    level: float,
    eval_config: config_pb2.EvalConfig | None = None,
    model_names: Sequence[str] | None = None,
) -> metric_types.MetricComputations:
    """One computation per model that is compared; none without a baseline."""
    spec = model_util.get_baseline_model_spec(eval_config) if eval_config else None
    if spec is None:
        return []
    return [
        metric_types.MetricComputation(
            # `example_weighted` as RetrievalMetrics has it.
            keys=[_key(name, model) for name in _names(ks)],
            preprocessors=[_Differences(model, spec.name)],
            combiner=_Combine(ks, level, model),
        )
        for model in model_names or []
        if model != spec.name
    ]


def _names(ks: Sequence[int]) -> list[str]:
    scores = score_names(ks)
    return [
        *map(lower_end, scores),
        *map(upper_end, scores),
        RESAMPLED_CLASSES,
        RESAMPLED_QUERIES,
        INTERVAL_LEVEL,
    ]


def _key(name: str, model: str) -> metric_types.MetricKey:
    return metric_types.MetricKey(name, model_name=model, example_weighted=None, is_diff=True)


class _Differences(metric_types.Preprocessor):
    """Takes the label and the difference of two models out of an extract of one query."""

    def __init__(self, model: str, baseline: str) -> None:
        super().__init__(name=f"retrieval scores of model {model!r} less those of {baseline!r}")
        self._model, self._baseline = model, baseline

    def process(self, extracts: dict[str, Any]) -> Iterator[_Difference | None]:
        if SET_KEY in extracts:
            yield None  # so that a split without a scored query has its NaN
            return
        (label,), (id_,) = (extracts[constants.FEATURES_KEY][name] for name in (LABEL, ID))
        scores = extracts[SCORES_KEY]
        yield label, _part(id_), scores[self._model] - scores[self._baseline]


def _part(id_: bytes | str) -> int:
    """One of `_PARTS`, the same on every machine."""
    data = id_ if isinstance(id_, bytes) else id_.encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=4).digest(), "big") % _PARTS


@dataclass
class _Sums:
    """What a slice has gathered: rows of sums of differences, the last column counts the queries.

    Attributes:
        classes: By label.
        parts: Of the one class by part; empty as soon as there are two classes.
    """

    classes: dict[bytes | str, np.ndarray] = field(default_factory=dict)
    parts: dict[int, np.ndarray] = field(default_factory=dict)

    def add(
        self, classes: Mapping[bytes | str, np.ndarray], parts: Mapping[int, np.ndarray]
    ) -> None:
        """Adds rows by label, and the same by part."""
        _add_rows(self.classes, classes)
        _add_rows(self.parts, parts)
        if len(self.classes) > 1:
            self.parts = {}


def _add_rows(into: dict[_Key, np.ndarray], rows: Mapping[_Key, np.ndarray]) -> None:
    for key, row in rows.items():
        into[key] = into[key] + row if key in into else row


class _Combine(beam.CombineFn):
    """Adds up the differences of a slice's queries and finds their intervals."""

    def __init__(self, ks: Sequence[int], level: float, model: str) -> None:
        self._keys = [_key(name, model) for name in _names(ks)]
        self._scores, self._level = len(score_names(ks)), level

    def create_accumulator(self) -> _Sums:
        return _Sums()

    def add_input(self, sums: _Sums, element: _Difference | None) -> _Sums:
        if element is None:
            return sums
        label, part, differences = element
        scores = differences[: self._scores]
        if not np.isnan(scores[0]):  # a query without a positive has no scores by any model
            row = np.append(scores, 1)
            sums.add({label: row}, {part: row})
        return sums

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = self.create_accumulator()
        for sums in accumulators:
            merged.add(sums.classes, sums.parts)
        return merged

    def extract_output(self, sums: _Sums) -> dict[metric_types.MetricKey, float]:
        by_class = len(sums.classes) > 1
        # In an order of their own: the order of arrival must not decide which class is drawn.
        rows = [row for _, row in sorted((sums.classes if by_class else sums.parts).items())]
        table = np.array(rows).reshape(len(rows), self._scores + 1)
        ends = change_intervals(table[:, -1], table[:, :-1], self._level)
        queries = 0.0 if by_class else float(table[:, -1].sum())
        values = [*ends.ravel().tolist(), float(len(rows)) if by_class else 0.0, queries]
        return dict(zip(self._keys, [*values, self._level], strict=True))
