"""The TFMA metric that turns retrieval scores of queries into the metrics of a slice.

Use it with `tfma.MetricConfig(class_name="RetrievalMetrics", module="modules.retrieval.metrics",
config='{"ks": [1, 5, 10]}')`, behind the extractors of `modules.evaluator`, which make the scores.
`modules.retrieval.definitions` says what every metric is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2

from modules.retrieval.definitions import COUNTS, score_names, set_names
from modules.retrieval.extractors import SCORES_KEY, SET_KEY
from modules.retrieval.sets import SetMetrics

_QUERIES, _EXCLUDED = (COUNTS.index(name) - len(COUNTS) for name in COUNTS[:2])


class RetrievalMetrics(metric_types.Metric):
    """All retrieval metrics of every slice and every model.

    Every slice has `score_names(ks)`, each the mean of that score over the slice's queries with
    R > 0 (NaN when there is none), and `COUNTS`. A slice picks the queries; their gallery is always
    the whole one. `set_names(verification, clustering)` have values for all queries together and
    are NaN in every other slice. With a baseline model TFMA adds the difference candidate −
    baseline of every key, under the same name, as a diff.

    With confidence intervals (`EvalConfig.options.confidence_intervals`) TFMA resamples queries,
    the gallery staying as it is: the intervals of the means are those of the choice of queries.
    The metrics of the set keep their values, and the bounds of their intervals are NaN: they were
    measured once, for all queries, and a resample has none.
    """

    def __init__(
        self,
        ks: Sequence[int] = (1, 5, 10),
        verification: bool = False,
        clustering: bool = False,
        gallery_files: Sequence[str] | None = None,
        distractor_files: Sequence[str] | None = None,
        exclude_same: Sequence[str] = (),
        query_flag: bool = False,
        gallery_flag: bool = False,
        false_accept_rate: float | None = None,
        kept: Mapping[str, Any] | None = None,
        compatibility: Mapping[str, Any] | None = None,
        embeddings_folder: str | None = None,
    ) -> None:
        """Checks the arguments. The extractors read them from the same configuration.

        Args:
            ks: The values of k.
            verification: Add pair verification: ROC AUC, TAR at FAR, equal error rate.
            clustering: Add NMI and AMI of k-means.
            gallery_files: Patterns of gzipped TFRecord files of tf.Examples that are the gallery;
                by default the evaluated examples are.
            distractor_files: The same of more of the gallery, with labels that no query has.
            exclude_same: Names of features. What has a query's label and the same value of one of
                them is none of its neighbours.
            query_flag: Only examples whose feature `is_query` is not 0 are queries.
            gallery_flag: Only examples whose feature `is_gallery` is not 0 are in the gallery.
            false_accept_rate: Find the operating point at this rate, for `OperatingPointMetrics`.
            kept: The fields of `modules.retrieval.Kept`: write a sample of the queries.
            compatibility: What else to compare with the baseline, see `modules.evaluator`.
            embeddings_folder: Where the search keeps embeddings, as for `ScoreQueries`.

        Raises:
            ValueError: `ks` is empty, repeats a value, or holds something other than a positive
                integer; files are something other than a list of patterns; or there is a
                `false_accept_rate` without `verification`, or one that is no rate.
        """
        score_names(ks)
        if false_accept_rate is not None and not (verification and 0 < false_accept_rate < 1):
            raise ValueError(
                "false_accept_rate needs verification and must be above 0 and below 1, got "
                f"{false_accept_rate} with verification = {verification}"
            )
        for name, files in (
            ("gallery_files", gallery_files),
            ("distractor_files", distractor_files),
        ):
            if files is not None and (
                isinstance(files, str)
                or not files
                or not all(isinstance(pattern, str) for pattern in files)
            ):
                raise ValueError(f"{name} must be a list of file patterns or null, got {files!r}")
        super().__init__(
            _computations,
            ks=list(ks),
            verification=verification,
            clustering=clustering,
            gallery_files=gallery_files,
            distractor_files=distractor_files,
            exclude_same=list(exclude_same),
            query_flag=query_flag,
            gallery_flag=gallery_flag,
            false_accept_rate=false_accept_rate,
            kept=None if kept is None else dict(kept),
            compatibility=compatibility,
            embeddings_folder=embeddings_folder,
        )


def read_metric_options(eval_config: config_pb2.EvalConfig) -> dict[str, Any]:
    """Reads the options of the one RetrievalMetrics in a configuration.

    Args:
        eval_config: As `modules.gate.make_eval_config` writes it.

    Returns:
        The arguments of `RetrievalMetrics` by name, defaults filled in.

    Raises:
        ValueError: There is none, there are several that differ, or its options are wrong.
    """
    found = {
        json.dumps(RetrievalMetrics(**json.loads(metric.config or "{}")).get_config())
        for spec in eval_config.metrics_specs
        for metric in spec.metrics
        if metric.class_name == RetrievalMetrics.__name__
    }
    if len(found) != 1:
        raise ValueError(
            "the eval_config needs RetrievalMetrics with one configuration, found "
            f"{sorted(found)}: make it with modules.gate.make_eval_config"
        )
    return json.loads(found.pop())


def _computations(
    ks: Sequence[int],
    verification: bool,
    clustering: bool,
    gallery_files: Sequence[str] | None,
    distractor_files: Sequence[str] | None,
    exclude_same: Sequence[str],
    query_flag: bool,
    gallery_flag: bool,
    false_accept_rate: float | None,
    kept: Mapping[str, Any] | None,
    compatibility: Mapping[str, Any] | None,
    embeddings_folder: str | None,
    model_names: Sequence[str] | None = None,
) -> metric_types.MetricComputations:
    """Makes one computation per model, which yields all metrics at once.

    What the extractors alone use is here too, since TFMA gives it all that is configured.
    """
    del gallery_files, distractor_files, exclude_same, query_flag, gallery_flag
    del false_accept_rate, kept, compatibility, embeddings_folder
    of_queries = [*score_names(ks), *COUNTS]
    names = [*of_queries, *set_names(verification, clustering)]
    computations = []
    for model_name in model_names or [""]:
        # Thresholds of a MetricsSpec bind to keys whose example_weighted is None, not False.
        keys = [
            metric_types.MetricKey(name=name, model_name=model_name, example_weighted=None)
            for name in names
        ]
        computations.append(
            metric_types.MetricComputation(
                keys=keys,
                preprocessors=[_OfModel(model_name)],
                combiner=_Combine(keys[: len(of_queries)], keys[len(of_queries) :]),
            )
        )
    return computations


class _OfModel(metric_types.Preprocessor):
    """Takes one model's part out of an extract."""

    def __init__(self, model_name: str) -> None:
        super().__init__(name=f"retrieval scores of model {model_name!r}")
        self._model_name = model_name

    def process(self, extracts: dict[str, Any]) -> Iterator[np.ndarray | SetMetrics]:
        if SET_KEY in extracts:
            yield extracts[SET_KEY]
        elif SCORES_KEY in extracts:
            yield extracts[SCORES_KEY][self._model_name]
        else:
            raise ValueError(
                f"RetrievalMetrics found no retrieval scores among {sorted(extracts)}: give "
                "Evaluator the module modules.evaluator"
            )


@dataclass
class _Sums:
    """What a slice has gathered.

    Attributes:
        scores: Sums of the score vectors; means leave the excluded queries out.
        of_set: The metrics of the set; they come to the slice of all queries only.
    """

    scores: np.ndarray
    of_set: SetMetrics | None = None


class _Combine(beam.CombineFn):
    """Sums the score vectors of a slice's queries, then divides the means by their number."""

    def __init__(
        self,
        keys: Sequence[metric_types.MetricKey],
        set_keys: Sequence[metric_types.MetricKey],
    ) -> None:
        self._keys, self._set_keys = list(keys), list(set_keys)

    def create_accumulator(self) -> _Sums:
        return _Sums(np.zeros(len(self._keys)))

    def add_input(self, sums: _Sums, element: np.ndarray | SetMetrics) -> _Sums:
        if isinstance(element, SetMetrics):
            sums.of_set = element
            return sums
        scores = element
        if scores.shape != sums.scores.shape:
            raise ValueError(
                f"RetrievalMetrics expects {len(self._keys)} scores per query but got an array "
                f"of shape {scores.shape}: give the same ks to the whole eval_config"
            )
        if scores[_EXCLUDED]:
            sums.scores[-len(COUNTS) :] += scores[-len(COUNTS) :]
        else:
            sums.scores += scores
        return sums

    def merge_accumulators(self, accumulators: Iterable[_Sums]) -> _Sums:
        merged = self.create_accumulator()
        for sums in accumulators:
            merged.scores += sums.scores
            merged.of_set = merged.of_set or sums.of_set
        return merged

    def extract_output(self, sums: _Sums) -> dict[metric_types.MetricKey, float]:
        values = sums.scores.copy()
        queries = values[_QUERIES]
        scored = queries - values[_EXCLUDED]
        values[: -len(COUNTS)] /= scored if scored else np.nan
        result = dict(zip(self._keys, values.tolist(), strict=True))
        of_set = {}
        if sums.of_set is not None and sums.of_set.queries == queries:
            of_set = sums.of_set.by_model[self._set_keys[0].model_name]
        # TFMA's validator wants a key that has a threshold in every slice, though it looks at the
        # value only where the threshold binds.
        return result | {key: of_set.get(key.name, math.nan) for key in self._set_keys}
