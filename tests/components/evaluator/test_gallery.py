"""The gallery of the Evaluator, and what its search keeps in files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator import executor
from tests.components.evaluator.evaluator_node import CATALOGUE, KS, ROWS
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, model_artifact
from tests.real_data import Row, examples_artifact


def test_the_gallery_may_be_another_split_or_other_examples(
    evaluate, models, examples, tmp_path, tmp_path_factory
):
    config = eval_config(KS, {"precision@1": {"lower": 0.5}})
    outcome = evaluate(config, gallery_split="catalogue", model=models["all"])
    overall = outcome.metrics["candidate"]["overall"]
    # Also the single nine has positives there.
    assert (overall["queries"], overall["excluded_queries"]) == (len(ROWS), 0)
    written = json.loads((tmp_path / "evaluation" / "eval_config.json").read_text())
    metric, _ = written["evalConfig"]["metricsSpecs"][0]["metrics"]
    assert json.loads(metric["config"])["gallery_files"] == [f"{examples.uri}/Split-catalogue/*"]
    other = examples_artifact(tmp_path_factory.mktemp("other"), {"only": CATALOGUE})
    again = evaluate(config, gallery_split="only", gallery=other, model=models["all"])
    np.testing.assert_equal(again.metrics, outcome.metrics)  # NaN included


def lit(row: Row) -> Row:
    """The digit with its first pixel white, which is black in all others."""
    pixels = tf.io.decode_png(row[0]).numpy()
    assert pixels[0, 0, 0] == 0
    pixels[0, 0, 0] = 255
    return tf.io.encode_png(pixels).numpy(), *row[1:]


def test_a_model_that_fails_only_on_the_gallery_is_not_blessed(
    evaluate, tmp_path, tmp_path_factory
):
    catalogue = [*map(lit, CATALOGUE[:2]), *CATALOGUE[2:]]
    gallery = examples_artifact(tmp_path_factory.mktemp("gallery"), {"only": catalogue})
    # White is level 3 and 3 · 3e38 is beyond float32.
    model = model_artifact(tmp_path / "model", np.where(np.arange(14 * 14) == 0, 3e38, ALL))
    config = eval_config(KS, {"map@r": {"lower": 0.0}})
    outcome = evaluate(config, gallery_split="only", gallery=gallery, model=model)
    overall = outcome.metrics["candidate"]["overall"]
    assert (overall["non_finite_embeddings"], overall["non_finite_gallery"]) == (0, 2)
    assert not outcome.blessed
    assert outcome.reason == (
        "non_finite_gallery (overall): 2 embeddings of the gallery hold NaN or infinity"
    )


def test_a_gallery_split_that_does_not_exist(evaluate, models):
    config = eval_config(KS, {"precision@1": {"lower": 0.5}})
    with pytest.raises(
        ValueError, match=r"gallery_split is 'all', .* has the splits \['eval', 'catalogue'\]"
    ):
        evaluate(config, gallery_split="all", model=models["all"])


def test_no_embeddings_are_left_where_the_search_fails(evaluate, models, tmp_path, monkeypatch):
    removed, remove = [], executor.fileio.rmtree

    def spy(folder):
        removed.append((folder, {path.suffix for path in Path(folder).iterdir()}))
        remove(folder)

    monkeypatch.setattr(executor.fileio, "rmtree", spy)
    twice = examples_artifact(tmp_path / "twice", {"eval": [*ROWS, ROWS[0]]})
    with pytest.raises(Exception, match="occurs more than once"):
        evaluate(eval_config(KS), examples=twice, model=models["all"])
    folder = f"{tmp_path}/tmp/1/{executor.EMBEDDINGS_FOLDER}"
    assert removed == [(folder, {".npy"})]
    assert not Path(folder).exists()
