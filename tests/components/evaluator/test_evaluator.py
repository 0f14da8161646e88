"""Evaluator through its real executor, on real digits: the verdict and its reasons."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from absl import logging as absl_logging
from tfx.types import channel, standard_artifacts

from components.evaluator import Evaluator, executor
from components.evaluator.revocation import reinstate, revoke
from modules.contract import make_example
from modules.gate.result import read_intervals
from tests.components.evaluator.evaluator_node import KS, ROWS
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, model_artifact
from tests.retrieval_oracle import brute_force, mean_scores

ALL_MET = "every threshold is met"


def test_a_first_model_passes_although_one_class_has_no_scores(evaluate, models, caplog):
    config = eval_config(
        KS,
        {"precision@1": {"lower": 0.6, "max_drop": 0.0}},
        slice_thresholds={"label": {"map@r": {"lower": 0.05, "max_drop": 0.05}}},
    )
    absl_logging.get_absl_logger().addHandler(caplog.handler)
    try:
        with caplog.at_level(logging.INFO, logger="absl"):
            outcome = evaluate(config, model=models["all"])
    finally:
        absl_logging.get_absl_logger().removeHandler(caplog.handler)
    assert outcome.blessed
    assert outcome.reason == ALL_MET
    assert outcome.files == {"BLESSED": "", "reasons.txt": ALL_MET + "\n"}
    # TFMA itself counts the undefined mean of class 9 as a failure; its file must agree with us.
    assert outcome.validation.validation_ok
    assert not outcome.validation.metric_validations_per_slice
    of_nine = outcome.metrics["candidate"]["label=9"]
    assert of_nine["map@r"] != of_nine["map@r"]
    values = outcome.metrics["candidate"]["overall"]
    assert caplog.messages[-1] == (
        f"Evaluator: precision@1 {values['precision@1']:.4f}, map@r {values['map@r']:.4f} of "
        f"{len(ROWS)} queries: BLESSED: {ALL_MET}"
    )


def test_a_better_candidate(evaluate, models):
    config = eval_config(
        KS,
        {"map@r": {"max_drop": 0.0}, "precision@1": {"max_relative_drop": 0.0}},
        slice_thresholds={"label": {"map@r": {"max_drop": 0.2, "max_relative_drop": 0.5}}},
    )
    outcome = evaluate(config, model=models["all"], baseline_model=models["few"])
    change = outcome.metrics["change"]
    changes = [change["overall"]["map@r"], *(v["map@r"] for v in change.values())]
    assert -0.2 < np.nanmin(changes) < 0 < changes[0]  # some class is worse, within the bounds
    assert np.isnan(changes).sum() == 1  # the one without scores does not count
    assert (outcome.blessed, outcome.reason) == (True, ALL_MET)


def test_a_candidate_that_is_worse_for_some_classes(evaluate, models):
    config = eval_config(
        KS,
        {"map@r": {"max_drop": 1.0}, "precision@1": {"lower": 0.1}},
        slice_thresholds={"label": {"map@r": {"max_drop": 0.3}}},
    )
    outcome = evaluate(config, model=models["few"], baseline_model=models["all"])
    now, change = outcome.metrics["candidate"], outcome.metrics["change"]
    worse = {where: -change[where]["map@r"] for where in now if where != "overall"}
    expected = [
        f"map@r ({where}): {now[where]['map@r']:.4f} is {drop:.4f} below the last blessed model, "
        f"at most 0.3000 is allowed (missed by {drop - 0.3:.4f})"
        for where, drop in sorted(worse.items())
        if drop > 0.3
    ]
    assert 0 < len(expected) < 9
    assert not outcome.blessed
    assert outcome.reason.splitlines() == expected
    assert outcome.files == {"NOT_BLESSED": "", "reasons.txt": outcome.reason + "\n"}
    assert not outcome.validation.validation_ok
    # The report says the same, without TFMA.
    np.testing.assert_equal(outcome.report.metrics, outcome.metrics)  # NaN included
    assert [str(failure) for failure in outcome.report.failures] == expected
    assert outcome.report.intervals.keys() == {"change"}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("nan", f"non_finite_embeddings (overall): {len(ROWS)} embeddings hold NaN or infinity"),
        ("none", "collapsed (overall): all embeddings lie practically at one point"),
    ],
)
def test_a_broken_model_is_not_blessed_by_any_threshold(evaluate, models, name, reason):
    outcome = evaluate(eval_config(KS, {"map@r": {"lower": 0.0}}), model=models[name])
    assert not outcome.blessed
    assert reason in outcome.reason.splitlines()


def test_without_thresholds_nothing_is_blessed(evaluate, models):
    config = eval_config(KS)
    config.metrics_specs[0].ClearField("per_slice_thresholds")
    outcome = evaluate(config, model=models["all"])
    assert not outcome.blessed
    assert outcome.reason == "there are no thresholds, so the model cannot be blessed"
    assert outcome.files == {}
    assert outcome.report.failures == []
    np.testing.assert_equal(outcome.report.metrics, outcome.metrics)


def test_slices_by_other_features(evaluate, models, tmp_path):
    """Of bytes and of int64; a threshold binds to each slice of its feature and to no other."""
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(tmp_path / "photos"), '["eval"]'
    folder = tmp_path / "photos" / "Split-eval"
    folder.mkdir(parents=True)
    kept = {}
    with tf.io.TFRecordWriter(str(folder / "data_tfrecord-00000-of-00001.gz"), "GZIP") as writer:
        for i, row in enumerate(ROWS):
            example = make_example(*row)
            camera, night = (b"left", b"right")[i % 2], int(i % 3 == 0)
            example.features.feature["camera"].bytes_list.value.append(camera)
            example.features.feature["night"].int64_list.value.append(night)
            writer.write(example.SerializeToString())
            kept.setdefault(f"camera={camera.decode()}", []).append(row)
            kept.setdefault(f"night={night}", []).append(row)
    config = eval_config(
        KS,
        {"map@r": {"lower": 0.0}},
        slice_by=["label", "camera", "night"],
        slice_thresholds={"camera": {"map@r": {"lower": 0.99}}, "night": {"map@r": {"lower": 0.0}}},
    )
    outcome = evaluate(config, examples=artifact, model=models["all"])
    found = outcome.metrics["candidate"]
    assert found.keys() == {"overall", *(f"label={i}" for i in range(10)), *kept}
    images = tf.stack([tf.io.decode_png(row[0]) for row in ROWS]).numpy()
    embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14)
    _, labels, ids = zip(*ROWS, strict=True)
    scores = brute_force(ids, labels, embeddings.tolist(), KS)
    for where, rows in kept.items():
        expected = mean_scores({row[2]: scores[row[2]] for row in rows})
        assert found[where]["queries"] == len(rows)
        assert found[where]["map@r"] == pytest.approx(expected["map@r"], rel=1e-12)
    assert not outcome.blessed
    assert [line.split(":")[0] for line in outcome.reason.splitlines()] == [
        "map@r (camera=left)",
        "map@r (camera=right)",
    ]


def test_thresholds_of_a_slice_that_is_missing_are_named(evaluate, models):
    config = eval_config(KS, {"map@r": {"lower": 0.0}})
    missing = tfma.SlicingSpec(feature_values={"label": "none such"})
    config.slicing_specs.append(missing)
    bound = config.metrics_specs[0].per_slice_thresholds["map@r"].thresholds
    bound.add(threshold=bound[0].threshold, slicing_specs=[missing])
    outcome = evaluate(config, model=models["all"])
    assert not outcome.blessed
    assert outcome.reason == (
        "thresholds (label=none such): no evaluated example is in such a slice"
    )
    assert outcome.files == {"NOT_BLESSED": "", "reasons.txt": outcome.reason + "\n"}


def test_the_viewer_of_tfma_shows_the_slices(evaluate, models, tmp_path):
    evaluate(eval_config(KS, {"map@r": {"lower": 0.0}}), model=models["all"])
    result = tfma.load_eval_result(str(tmp_path / "evaluation"))
    shown = tfma.view.render_slicing_metrics(result, slicing_column="label")
    assert {row["slice"] for row in shown.data} == {f"label:{i}" for i in range(10)}


@pytest.mark.slow
@pytest.mark.parametrize("confidence", ["jackknife", "poisson_bootstrap"])
def test_confidence_intervals_change_no_verdict(evaluate, models, tmp_path, confidence):
    thresholds = {"precision@1": {"lower": 0.6}, "map@r": {"max_drop": 0.0}}
    pair = {"model": models["all"], "baseline_model": models["few"]}
    plain = evaluate(eval_config(KS, thresholds), **pair)
    of_change = read_intervals(str(tmp_path / "evaluation"))
    assert of_change.keys() == {"change"}
    outcome = evaluate(eval_config(KS, thresholds, confidence=confidence), **pair)
    assert outcome.blessed
    intervals = read_intervals(str(tmp_path / "evaluation"))
    assert outcome.report.intervals == intervals
    assert intervals.keys() == {"candidate", "baseline", "change"}
    for where, ends in of_change["change"].items():  # TFMA's resamples have none of their own
        assert intervals["change"][where]["map@r"] == pytest.approx(ends["map@r"], abs=1e-12)
    for kind, of_kind in intervals.items():
        expected = pytest.approx(plain.metrics[kind]["overall"], abs=1e-12)
        assert outcome.metrics[kind]["overall"] == expected
        lower, upper = of_kind["overall"]["map@r"]
        assert lower < outcome.metrics[kind]["overall"]["map@r"] < upper
        assert "spread" not in of_kind["overall"]  # measured once, for all queries


def test_many_failures_are_cut_in_the_property_and_whole_in_the_file():
    lines = executor._reason([f"map@r (label={i}): too low" for i in range(1234)]).splitlines()
    assert len(lines) == 51
    assert lines[-1] == "and 1,184 more, in reasons.txt"


def test_the_node_is_that_of_tfx_for_every_node_behind_it():
    examples, model = (
        channel.Channel(kind) for kind in (standard_artifacts.Examples, standard_artifacts.Model)
    )
    node = Evaluator(examples, model, eval_config(KS), "modules.evaluator")
    assert node.id == "Evaluator"
    assert set(node.outputs) == {"evaluation", "blessing"}
    with pytest.raises(ValueError, match="gallery_split"):
        Evaluator(examples, model, eval_config(KS), "modules.evaluator", gallery=examples)


def test_a_model_that_was_rolled_back_is_rejected_whatever_its_figures(evaluate, tmp_path):
    config = eval_config(KS, {"precision@1": {"lower": 0.0}})
    model = model_artifact(tmp_path / "model", ALL)
    assert evaluate(config, model=model).blessed
    revoke(model.uri, "rolled back")
    outcome = evaluate(config, model=model)
    assert not outcome.blessed
    assert outcome.reason == "rolled back"
    assert outcome.files == {"NOT_BLESSED": "", "reasons.txt": "rolled back\n"}
    reinstate(model.uri)
    assert evaluate(config, model=model).blessed


def test_changes_are_judged_by_their_intervals(evaluate, models):
    """The worse model, the better one, and the same one again."""
    config = eval_config(
        KS,
        {"precision@1": {"better": True}, "map@r": {"no_worse": 0.01, "undecided": "bless"}},
        slice_thresholds={"label": {"mrr": {"no_worse": 0.6, "undecided": "bless"}}},
        change_level=0.9,  # nine classes tell no more
    )
    better = evaluate(config, model=models["all"], baseline_model=models["few"])
    lower, upper = better.report.intervals["change"]["overall"]["precision@1"]
    change = better.metrics["change"]["overall"]
    assert 0 < lower < change["precision@1"] < upper
    assert change["resampled classes"] == 9  # the class of one image has no score
    assert better.metrics["change"]["label=3"]["resampled queries"] == 6
    assert "map@r lower" not in change
    # The class without scores has nothing to tell.
    assert "mrr (label=9)" not in better.reason
    assert (better.blessed, better.reason.splitlines()[0]) == (True, ALL_MET)
    noted = better.reason.splitlines()[1:]
    assert noted == [f"passed all the same: {one}" for one in better.report.undecided]

    worse = evaluate(config, model=models["few"], baseline_model=models["all"])
    assert not worse.blessed
    assert "precision@1 (overall): it is worse: its change from the last blessed" in worse.reason
    ends = worse.report.intervals["change"]["overall"]["precision@1"]
    assert ends == pytest.approx((-upper, -lower))

    same = evaluate(config, model=models["all"], baseline_model=models["all"])
    assert not same.blessed
    assert same.reason.startswith(
        "precision@1 (overall): it is as good as the last blessed model, not better: its change "
        "from the last blessed model is +0.0000"
    )


def test_a_threshold_that_every_model_meets_blesses_none(evaluate, models):
    outcome = evaluate(eval_config([54], {"recall@54": {"lower": 0.1}}), model=models["all"])
    assert outcome.metrics["candidate"]["overall"]["gallery_size"] == len(ROWS) == 55
    assert not outcome.blessed
    assert outcome.reason == (
        "recall@54 (overall): its threshold says nothing of the model: k is 54 and a query has 54 "
        "neighbours in all; take a smaller k or a larger gallery"
    )
    assert outcome.files == {"NOT_BLESSED": "", "reasons.txt": outcome.reason + "\n"}
    assert [str(one) for one in outcome.report.failures] == [outcome.reason]
