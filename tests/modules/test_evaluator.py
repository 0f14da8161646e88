"""TFX Evaluator's real executor with this project's user module, on real digits."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.components.evaluator.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from modules import evaluator
from modules.retrieval import SET_NAMES
from modules.settings import Threshold
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, FEW, NAN, model_artifact
from tests.real_data import BEAM_ARGS, digits, examples_artifact
from tests.retrieval_oracle import Rows, brute_force, mean_scores, set_metrics

KS = [1, 5]
# 6 of most classes, one nine that no other example can find, in an order that is not that of ids.
ROWS = [*digits(6, classes=range(9)), *digits(1, classes=[9])][::-1]
MODULE = {"module_path": "modules.evaluator"}


@functools.cache
def rows(weights: str) -> Rows:
    """What the model with these weights makes of the digits."""
    images = tf.stack([tf.io.decode_png(row[0]) for row in ROWS]).numpy()
    embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14) * {"all": ALL, "few": FEW}[
        weights
    ]
    _, labels, ids = zip(*ROWS, strict=True)
    return Rows(ids, labels, embeddings.tolist())


@functools.cache
def expected(weights: str) -> dict:
    """The oracle's scores by id."""
    return brute_force(*rows(weights), KS)


class Outcome(NamedTuple):
    """What one run of the executor left."""

    evaluation: str
    blessed: bool
    failures: set[tuple[str, bool]]  # metric name, is a change

    def metrics(self, model: str = "", label: str | None = None) -> dict[str, float]:
        slices = dict(tfma.load_eval_result(self.evaluation, model_name=model).slicing_metrics)
        values = slices[() if label is None else (("label", label),)][""][""]
        return {name: float(value["doubleValue"]) for name, value in values.items()}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, standard_artifacts.Model]:
    return {
        name: model_artifact(tmp_path_factory.mktemp(name), weights)
        for name, weights in {"all": ALL, "few": FEW, "nan": NAN}.items()
    }


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> standard_artifacts.Examples:
    return examples_artifact(tmp_path_factory.mktemp("examples"), {"eval": ROWS}, shards=3)


def evaluate(folder: Path, examples, thresholds, module=MODULE, **models) -> Outcome:
    """Runs the executor; `model` is the candidate, `baseline_model` the last blessed one."""
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder), unique_id="1"
    )
    Executor(context).Do(
        {"examples": [examples], **{key: [model] for key, model in models.items()}},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(eval_config(KS, thresholds)),
            "example_splits": "null",
            "fairness_indicator_thresholds": "null",
            **module,
        },
    )
    files = {path.name for path in Path(blessing.uri).iterdir()}
    assert files in ({"BLESSED"}, {"NOT_BLESSED"})
    assert blessing.get_int_custom_property("blessed") == (files == {"BLESSED"})
    failures = {
        (failure.metric_key.name, failure.metric_key.is_diff)
        for checked in tfma.load_validation_result(evaluation.uri).metric_validations_per_slice
        for failure in checked.failures
    }
    return Outcome(evaluation.uri, files == {"BLESSED"}, failures)


@pytest.fixture(scope="module")
def first(tmp_path_factory, examples, models) -> Outcome:
    """A first model, without a baseline."""
    thresholds = {"precision@1": {"lower": 0.6}, "map@r": {"lower": None, "max_drop": 0.01}}
    return evaluate(tmp_path_factory.mktemp("first"), examples, thresholds, model=models["all"])


@pytest.fixture(scope="module")
def second(tmp_path_factory, examples, models) -> Outcome:
    """A better model than the baseline."""
    thresholds = {
        "precision@1": Threshold(lower=0.6, max_drop=0.0),
        "map@r": Threshold(max_drop=0.0),
    }
    return evaluate(
        tmp_path_factory.mktemp("second"),
        examples,
        thresholds,
        model=models["all"],
        baseline_model=models["few"],
    )


def test_metrics_of_the_whole_split_equal_the_brute_force(first):
    counts = {"queries": len(ROWS), "excluded_queries": 1, "non_finite_embeddings": 0}
    means = mean_scores(expected("all"))
    assert 0.6 < means["precision@1"] < 1
    of_set = set_metrics(rows("all").embeddings)
    assert first.metrics() == pytest.approx({**means, **counts, **of_set}, rel=1e-12)


def test_metrics_of_a_label_search_the_whole_split(first):
    for label in "012345678":
        of_label = {
            example_id: expected("all")[example_id]
            for _, row_label, example_id in ROWS
            if row_label == label.encode()
        }
        counts = {"queries": 6, "excluded_queries": 0, "non_finite_embeddings": 0}
        means = mean_scores(of_label)
        none = dict.fromkeys(SET_NAMES, np.nan)  # the set is that of all queries
        assert first.metrics(label=label) == pytest.approx(
            {**means, **counts, **none}, rel=1e-12, nan_ok=True
        )


def test_a_label_with_one_example_has_counts_and_no_means(first):
    values = first.metrics(label="9")
    assert (values["queries"], values["excluded_queries"]) == (1, 1)
    assert np.isnan(values["map@r"])


def test_a_first_model_is_blessed_by_its_values_alone(first):
    assert first.blessed
    assert not first.failures


def test_thresholds_do_not_bind_to_slices(first):
    assert min(first.metrics(label=label)["precision@1"] for label in "012345678") < 0.6


def test_candidate_and_baseline_and_their_difference(second):
    better, worse = mean_scores(expected("all")), mean_scores(expected("few"))
    assert worse["map@r"] < better["map@r"] - 0.1
    candidate, baseline = second.metrics("candidate"), second.metrics("baseline")
    for name in better:
        assert candidate[name] == pytest.approx(better[name], rel=1e-12)
        assert baseline[name] == pytest.approx(worse[name], rel=1e-12)
        difference = better[name] - worse[name]
        assert candidate[f"{name}_diff"] == pytest.approx(difference, abs=1e-9)
    assert second.blessed


def test_a_candidate_below_value_and_baseline_is_not_blessed(tmp_path, examples, models):
    drop = mean_scores(expected("all"))["map@r"] - mean_scores(expected("few"))["map@r"]
    outcome = evaluate(
        tmp_path,
        examples,
        {
            "precision@1": {"lower": 0.99},
            "recall@5": {"lower": 0.1},
            "map@r": {"max_drop": drop - 1e-6},
            "r_precision": {"max_drop": 1.0},
        },
        model=models["few"],
        baseline_model=models["all"],
    )
    assert not outcome.blessed
    assert outcome.failures == {("precision@1", False), ("map@r", True)}


def test_a_drop_within_the_threshold_is_blessed(tmp_path, examples, models):
    drop = mean_scores(expected("all"))["map@r"] - mean_scores(expected("few"))["map@r"]
    thresholds = {"map@r": {"max_drop": drop + 1e-6}}
    pair = {"model": models["few"], "baseline_model": models["all"]}
    assert evaluate(tmp_path, examples, thresholds, **pair).blessed


def test_a_model_with_nan_embeddings_is_not_blessed(tmp_path, examples, models):
    thresholds = {"precision@1": {"lower": 0.0}}
    outcome = evaluate(tmp_path, examples, thresholds, model=models["nan"])
    assert outcome.failures == {("non_finite_embeddings", False)}
    assert outcome.metrics()["non_finite_embeddings"] == len(ROWS)
    assert outcome.metrics()["recall@5"] == 0


def test_extractors_need_one_configuration():
    config = eval_config([1])
    config.metrics_specs.extend(eval_config([2]).metrics_specs)
    with pytest.raises(ValueError, match=r"RetrievalMetrics with one configuration, found"):
        evaluator.custom_extractors([], config, None)
