"""All retrieval metrics through TFX Evaluator's executor: options, baseline, intervals, loaders."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from sklearn.metrics import roc_auc_score
from tfx.components.evaluator.executor import Executor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import proto_utils

from modules import evaluator
from modules.retrieval import COUNTS, metric_names, score_names, set_names
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, FEW, model_artifact
from tests.real_data import BEAM_ARGS, digits, examples_artifact
from tests.retrieval_oracle import Rows, brute_force, mean_scores, pairs, set_metrics

KS = [1, 5]
QUERIES = digits(5)
# Three queries are in the gallery too; the zeros are not.
GALLERY = [*digits(6, start=5, classes=range(1, 10)), *digits(3, classes=[4])]


def embed(rows: list, weights: np.ndarray) -> Rows:
    images = tf.stack([tf.io.decode_png(row[0]) for row in rows]).numpy()
    embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14) * weights
    _, labels, ids = zip(*rows, strict=True)
    return Rows(ids, labels, embeddings.tolist())


def evaluate(folder: Path, config, rows: list, **weights: np.ndarray) -> tuple[str, bool]:
    """Runs the executor; the folder of the evaluation, and whether the model was blessed."""
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder), unique_id="1"
    )
    models = {key: [model_artifact(folder / key, array)] for key, array in weights.items()}
    Executor(context).Do(
        {"examples": [examples_artifact(folder / "examples", {"eval": rows})], **models},
        {"evaluation": [evaluation], "blessing": [blessing]},
        {
            "eval_config": proto_utils.proto_to_json(config),
            "example_splits": "null",
            "fairness_indicator_thresholds": "null",
            "module_file": evaluator.__file__,
        },
    )
    return evaluation.uri, (Path(blessing.uri) / "BLESSED").exists()


def read(evaluation: str, model: str = "", label: str | None = None) -> dict[str, float]:
    slices = dict(tfma.load_eval_result(evaluation, model_name=model).slicing_metrics)
    values = slices[() if label is None else (("label", label),)][""][""]
    return {name: float(value["doubleValue"]) for name, value in values.items()}


@pytest.fixture(scope="module")
def compared(tmp_path_factory) -> tuple[str, bool]:
    """Candidate and baseline with every option, in a gallery of its own."""
    folder = tmp_path_factory.mktemp("compared")
    artifact = examples_artifact(folder / "gallery", {"gallery": GALLERY})
    config = eval_config(
        KS,
        {"map@r": {"max_drop": 0.0}, "roc_auc": {"lower": 0.5, "max_drop": 0.0}},
        verification=True,
        clustering=True,
        gallery_files=[f"{artifact_utils.get_split_uri([artifact], 'gallery')}/*.gz"],
    )
    return evaluate(folder, config, QUERIES, model=ALL, baseline_model=FEW)


@pytest.mark.parametrize(("model", "weights"), [("candidate", ALL), ("baseline", FEW)])
def test_a_gallery_of_its_own_with_every_option(compared, model, weights):
    queries, gallery = embed(QUERIES, weights), embed(GALLERY, weights)
    values = read(compared[0], model)
    means = mean_scores(brute_force(*queries, KS, gallery))
    of_set = {**set_metrics(queries.embeddings), "gallery_size": len(gallery.ids)}
    expected = {**means, **of_set, "queries": 50, "excluded_queries": 5}
    assert {name: values[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    distances, same = pairs(queries, gallery)
    # A bin is a distance to 11 bits: whole numbers below 2,048 are told apart.
    assert max(distances) < 2048
    assert values["roc_auc"] == pytest.approx(roc_auc_score(same, -np.array(distances)), rel=1e-12)
    assert 0 < values["nmi"] < 1
    assert values.keys() >= set(metric_names(KS, True, True))


def test_differences_and_the_gate_know_every_metric(compared):
    evaluation, blessed = compared
    candidate, baseline = read(evaluation, "candidate"), read(evaluation, "baseline")
    for name in metric_names(KS, True, True):
        difference = candidate[name] - baseline[name]
        assert candidate[f"{name}_diff"] == pytest.approx(difference, abs=1e-9)
    assert candidate["roc_auc_diff"] > 0
    assert blessed


def test_slices_have_no_metrics_of_the_set(compared):
    evaluation, _ = compared
    values = read(evaluation, "candidate", label="7")
    assert all(math.isnan(values[name]) for name in set_names(True, True))
    assert not any(math.isnan(values[name]) for name in (*score_names(KS), *COUNTS))
    excluded = read(evaluation, "candidate", label="0")
    assert (excluded["queries"], excluded["excluded_queries"]) == (5, 5)


def intervals(evaluation: str) -> dict[str, tuple[float, float, float]]:
    """Lower bound, value and upper bound of the metrics of all queries, as TFMA loads them."""
    (overall,) = (
        metrics
        for metrics in tfma.load_metrics(evaluation)
        if not metrics.slice_key.single_slice_keys
    )
    return {
        entry.key.name: (
            entry.confidence_interval.lower_bound.double_value.value,
            entry.value.double_value.value,
            entry.confidence_interval.upper_bound.double_value.value,
        )
        for entry in overall.metric_keys_and_values
    }


@pytest.mark.slow
@pytest.mark.parametrize("confidence", ["jackknife", "poisson_bootstrap"])
def test_confidence_intervals_resample_queries(tmp_path, confidence):
    rows = digits(40, classes=[4, 9])  # which look alike; a slice costs as much as all queries
    config = eval_config(
        KS, {"map@r": {"lower": 0.1}, "spread": {"lower": 0.1}}, confidence=confidence
    )
    evaluation, blessed = evaluate(tmp_path, config, rows, model=ALL)
    assert blessed
    found = intervals(evaluation)
    queries = embed(rows, ALL)
    scores = list(brute_force(*queries, KS).values())
    for name in ("precision@1", "map@r", "mrr", "d_ap"):
        lower, value, upper = found[name]
        values = np.array([row[name] for row in scores])
        assert value == pytest.approx(values.mean(), rel=1e-12)
        assert lower < value < upper
        # 2.09 standard errors of a mean to each side, by 20 resamples, which vary themselves.
        width = 2 * 2.09 * values.std(ddof=1) / math.sqrt(len(values))
        assert 0.4 * width < upper - lower < 2.5 * width
    lower, value, upper = found["spread"]
    assert value == pytest.approx(set_metrics(queries.embeddings)["spread"], rel=1e-12)
    assert math.isnan(lower)
    assert math.isnan(upper)
