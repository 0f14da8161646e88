"""The TFMA metric of changes: keys, classes or queries, and what does not matter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from tensorflow_model_analysis import constants
from tensorflow_model_analysis.metrics import metric_specs
from tensorflow_model_analysis.utils import update_eval_config_with_defaults

from modules.contract import ID, LABEL
from modules.retrieval import COUNTS, RESAMPLED_CLASSES, RESAMPLED_QUERIES, score_names
from modules.retrieval.changes import RetrievalChanges
from modules.retrieval.class_bootstrap import change_intervals
from modules.retrieval.extractors import SCORES_KEY, SET_KEY
from modules.settings import EvaluationSettings
from tests.gate_cases import eval_config

SCORES = len(score_names([1]))
CONFIG = update_eval_config_with_defaults(eval_config([1]), has_baseline=True)


def computation():
    (found,) = RetrievalChanges([1]).computations(
        eval_config=CONFIG, model_names=["candidate", "baseline"]
    )
    return found


def extract(label: int, number: int, change: float) -> dict:
    """A query; without a positive if the change is NaN."""
    counts = [1.0, float(np.isnan(change)), 0.0]
    candidate = np.array([*(change + np.arange(SCORES)), *counts])
    baseline = np.array([*np.where(np.isnan(change), np.nan, np.arange(SCORES)), *counts])
    return {
        constants.FEATURES_KEY: {
            LABEL: np.array([str(label).encode()], object),
            ID: np.array([f"{label}/{number}".encode()], object),
        },
        SCORES_KEY: {"candidate": candidate, "baseline": baseline},
    }


def combine(parts: list[list[dict]]) -> dict[str, float]:
    """As Beam does it: one accumulator per part, then a merge."""
    found = computation()
    (preprocessor,), fn = found.preprocessors, found.combiner
    sums = []
    for part in parts:
        accumulator = fn.create_accumulator()
        for one in part:
            for element in preprocessor.process(one):
                accumulator = fn.add_input(accumulator, element)
        sums.append(accumulator)
    output = fn.extract_output(fn.merge_accumulators(sums))
    assert list(output) == list(found.keys)
    assert all(key.is_diff and key.model_name == "candidate" for key in output)
    return {key.name: value for key, value in output.items()}


change = st.one_of(st.integers(-4, 4).map(float), st.just(np.nan))
# One class, or enough of them for an interval, or too few.
queries = st.integers(0, 9).flatmap(
    lambda most: st.lists(st.tuples(st.integers(0, most), change), max_size=24)
)


@settings(deadline=None, max_examples=60)
@given(queries, st.randoms(use_true_random=False), st.integers(1, 4))
def test_neither_order_nor_bundles_matter_and_classes_are_resampled(rows, random, bundles):
    extracts = [extract(label, i, value) for i, (label, value) in enumerate(rows)]
    found = combine([extracts])
    shuffled = random.sample(extracts, len(extracts))
    parts = [shuffled[i::bundles] for i in range(bundles)]
    np.testing.assert_equal(combine([*parts, []]), found)  # whole numbers: exactly

    scored = [(label, value) for label, value in rows if not np.isnan(value)]
    labels = sorted({label for label, _ in scored})
    if len(labels) > 1:
        counts = np.array([sum(label == one for label, _ in scored) for one in labels])
        sums = np.array([sum(v for label, v in scored if label == one) for one in labels])
        lower, upper = change_intervals(counts, sums[:, None])[:, 0]
        assert found["mrr lower"] == pytest.approx(lower, abs=1e-12, nan_ok=True)
        assert found["mrr upper"] == pytest.approx(upper, abs=1e-12, nan_ok=True)
    assert found[RESAMPLED_CLASSES] == (len(labels) if len(labels) > 1 else 0)
    assert found[RESAMPLED_QUERIES] == (len(scored) if len(labels) == 1 else 0)


def test_a_slice_of_one_class_resamples_its_queries():
    """In so many parts that most of few queries are one each."""
    random = np.random.default_rng(0)
    values = random.normal(0.2, 1, 2_000)
    found = combine([[extract(5, i, value) for i, value in enumerate(values)]])
    lower, upper = change_intervals(np.ones(2_000), values[:, None])[:, 0]
    assert found["map@r lower"] == pytest.approx(lower, abs=0.01)
    assert found["map@r upper"] == pytest.approx(upper, abs=0.01)
    assert (found[RESAMPLED_CLASSES], found[RESAMPLED_QUERIES]) == (0, 2_000)


def test_the_metrics_of_the_set_and_a_single_query_have_no_interval():
    found = combine([[{SET_KEY: None}], [extract(1, 1, 2.0)], [extract(2, 1, np.nan)]])
    assert np.isnan(found["mrr lower"])
    assert found["interval level"] == 0.95


def test_without_a_baseline_there_are_no_keys():
    config = update_eval_config_with_defaults(
        eval_config([1]), has_baseline=False, rubber_stamp=True
    )
    assert not RetrievalChanges([1]).computations(eval_config=config, model_names=[""])


@pytest.mark.parametrize("undecided", ["refuse", "bless"])
@pytest.mark.parametrize("has_baseline", [False, True])
def test_every_test_binds_to_a_computed_key(undecided, has_baseline):
    names = score_names([1, 5])
    tests = {"no_worse": 0.1, "better": True, "undecided": undecided}
    config = update_eval_config_with_defaults(
        eval_config([1, 5], dict.fromkeys(names, tests), change_level=0.9),
        has_baseline=has_baseline,
        rubber_stamp=True,
    )
    computed = {
        key
        for one in metric_specs.to_computations(list(config.metrics_specs), config)
        for key in one.keys
    }
    bound = metric_specs.metric_thresholds_from_metrics_specs(config.metrics_specs, config)
    ends = {key for key in bound if key.is_diff and key.model_name == "candidate"}
    assert len(ends) == (len(names) if has_baseline else 0)
    assert ends <= computed
    assert not {key.name for key in ends} & {*names, *COUNTS}


@pytest.mark.parametrize("level", [0, 1, 1.5])
def test_levels_are_checked(level):
    with pytest.raises(ValueError, match="level must be above 0 and below 1"):
        RetrievalChanges([1], level)
    with pytest.raises(ValueError, match="change_level"):
        EvaluationSettings(change_level=level)
