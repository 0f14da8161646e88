"""The TFMA metric that turns per-query retrieval scores into the metrics of a slice.

Use it with `tfma.MetricConfig(class_name="RetrievalMetrics", module="modules.retrieval_metrics",
config='{"ks": [1, 5, 10]}')`, behind the extractors of `modules.evaluator`, which put the scores
where predictions usually are. `modules.retrieval` defines every score.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apache_beam as beam
import numpy as np
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_types

from modules.retrieval import COUNTS, score_names

_QUERIES, _EXCLUDED = (COUNTS.index(name) - len(COUNTS) for name in COUNTS[:2])


class RetrievalMetrics(metric_types.Metric):
    """Means and counts of the retrieval scores, for every slice and every model.

    Keys, for ks = [1, 5]: `precision@1`, `precision@5`, `precision_capped@1`,
    `precision_capped@5`, `recall@1`, `recall@5`, `r_precision` and `map@r`, each the mean of that
    score over the slice's queries with R > 0 (NaN when there is none), and

    - `queries`: the number of queries in the slice, with any R;
    - `excluded_queries`: how many of them have R = 0 and are in no mean;
    - `non_finite_embeddings`: how many of them have an embedding with NaN or infinity.

    A slice picks the queries; their gallery is always the whole split. With a baseline model TFMA
    adds the difference candidate − baseline of every key, under the same name, as a diff.
    """

    def __init__(self, ks: Sequence[int] = (1, 5, 10)) -> None:
        """Checks ks.

        Args:
            ks: The values of k, the same as in the extractors.

        Raises:
            ValueError: `ks` is empty, repeats a value, or holds something other than a positive
                integer.
        """
        score_names(ks)
        super().__init__(_computations, ks=list(ks))


def _computations(
    ks: Sequence[int], model_names: Sequence[str] | None = None
) -> metric_types.MetricComputations:
    """Makes one computation per model, which yields all metrics at once."""
    names = [*score_names(ks), *COUNTS]
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
                preprocessors=[
                    metric_types.StandardMetricInputsPreprocessor(
                        include_filter={constants.PREDICTIONS_KEY: {}},
                        include_default_inputs=False,
                    )
                ],
                combiner=_Means(keys),
            )
        )
    return computations


class _Means(beam.CombineFn):
    """Sums the score vectors of a slice's queries, then divides the means by their number."""

    def __init__(self, keys: Sequence[metric_types.MetricKey]) -> None:
        self._keys = list(keys)

    def create_accumulator(self) -> np.ndarray:
        return np.zeros(len(self._keys), dtype=np.float64)

    def add_input(
        self, accumulator: np.ndarray, element: metric_types.StandardMetricInputs
    ) -> np.ndarray:
        scores = element.get_predictions(self._keys[0].model_name)
        if scores.shape != accumulator.shape:
            raise ValueError(
                f"RetrievalMetrics expects {len(accumulator)} scores per query but got an array "
                f"of shape {scores.shape}: give Evaluator the module_file modules/evaluator.py, "
                "and the same ks to the whole eval_config"
            )
        if scores[_EXCLUDED]:
            accumulator[-len(COUNTS) :] += scores[-len(COUNTS) :]
        else:
            accumulator += scores
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[np.ndarray]) -> np.ndarray:
        return np.sum(list(accumulators), axis=0)

    def extract_output(self, accumulator: np.ndarray) -> dict[metric_types.MetricKey, float]:
        values = accumulator.copy()
        scored = values[_QUERIES] - values[_EXCLUDED]
        values[: -len(COUNTS)] /= scored if scored else np.nan
        return dict(zip(self._keys, values.tolist(), strict=True))
