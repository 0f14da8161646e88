"""Who is a query, who may be found and who is left out, through the Evaluator's real executor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor
from modules.contract import IS_GALLERY, IS_QUERY, Value, make_example
from modules.gate.result import read_metrics
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, model_artifact
from tests.real_data import BEAM_ARGS, digits
from tests.retrieval_oracle import Rows, brute_force, mean_scores, pairs

KS = [1, 5]
ROWS = digits(8, classes=range(5))
CAMERAS = [b"left" if i % 3 else b"right" for i in range(len(ROWS))]
SEQUENCES = [i // 2 for i in range(len(ROWS))]
QUERY = [i % 4 == 0 for i in range(len(ROWS))]
GALLERY = [i % 5 != 0 for i in range(len(ROWS))]


def write(root: Path, features: dict[str, list[Value]]) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(root), '["eval"]'
    (root / "Split-eval").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(root / "Split-eval" / "data.gz"), "GZIP") as writer:
        for i, row in enumerate(ROWS):
            further = {name: values[i] for name, values in features.items()}
            writer.write(make_example(*row, further).SerializeToString())
    return artifact


def evaluate(root: Path, examples: standard_artifacts.Examples, gallery=None, **settings):
    """The metrics of the model whose embedding is the image."""
    config = eval_config(KS, {"map@r": {"lower": 0.0}}, **settings)
    node = Evaluator(
        examples=channel.Channel(standard_artifacts.Examples),
        model=channel.Channel(standard_artifacts.Model),
        eval_config=config,
        module_path="modules.evaluator",
        gallery_split=gallery,
    )
    outputs = {
        "evaluation": standard_artifacts.ModelEvaluation(),
        "blessing": standard_artifacts.ModelBlessing(),
    }
    for name, artifact in outputs.items():
        artifact.uri = str(root / name)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(root / "tmp"), unique_id="1"
    )
    executor.Executor(context).Do(
        {"examples": [examples], "model": [model_artifact(root / "model", ALL)]},
        {name: [artifact] for name, artifact in outputs.items()},
        {**node.exec_properties, "eval_config": proto_utils.proto_to_json(config)},
    )
    return read_metrics(str(root / "evaluation"))["candidate"]


def rows(chosen: list[int]) -> Rows:
    images = tf.stack([tf.io.decode_png(ROWS[i][0]) for i in chosen]).numpy()
    embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14).astype(np.float32)
    return Rows([ROWS[i][2] for i in chosen], [ROWS[i][1] for i in chosen], embeddings)


@pytest.mark.parametrize("exclude_same", [["camera"], ["camera", "sequence"]])
@pytest.mark.parametrize("flags", [(), (IS_QUERY, IS_GALLERY), (IS_GALLERY,)])
def test_metrics_follow_the_protocol(tmp_path, exclude_same, flags):
    every = range(len(ROWS))
    features = {"camera": CAMERAS, "sequence": SEQUENCES}
    flagged = {IS_QUERY: QUERY, IS_GALLERY: GALLERY}
    examples = write(
        tmp_path / "examples",
        {**features, **{name: [int(flag) for flag in flagged[name]] for name in flags}},
    )
    found = evaluate(
        tmp_path, examples, exclude_same=exclude_same, verification=True, slice_by=["camera"]
    )
    asked = [i for i in every if IS_QUERY not in flags or QUERY[i]]
    searched = [i for i in every if IS_GALLERY not in flags or GALLERY[i]]
    columns, gallery_columns = (
        [[features[name][i] for i in chosen] for name in exclude_same]
        for chosen in (asked, searched)
    )
    expected = brute_force(*rows(asked), KS, rows(searched), columns, gallery_columns)
    overall = found["overall"]
    assert overall["queries"] == len(asked)
    assert overall["excluded_queries"] == sum(score is None for score in expected.values())
    for name, value in mean_scores(expected).items():
        assert overall[name] == pytest.approx(value, rel=1e-9), name
    of_right = {
        ROWS[i][2]: expected[ROWS[i][2]] for i in asked if features["camera"][i] == b"right"
    }
    assert found["camera=right"]["map@r"] == pytest.approx(mean_scores(of_right)["map@r"])
    distances, same = pairs(rows(asked), rows(searched), columns, gallery_columns)
    apart = np.array(distances)
    same = np.array(same)
    nearer = (apart[same][:, None] < apart[~same]) + 0.5 * (apart[same][:, None] == apart[~same])
    assert overall["roc_auc"] == pytest.approx(nearer.mean(), abs=1e-3)  # it is binned


def test_a_flag_that_only_some_examples_have_is_named(tmp_path):
    examples = write(tmp_path / "examples", {IS_QUERY: [1] * len(ROWS)})
    record = make_example(b"x", b"x", b"other").SerializeToString()
    with tf.io.TFRecordWriter(
        str(tmp_path / "examples" / "Split-eval" / "more.gz"), "GZIP"
    ) as writer:
        writer.write(record)
    with pytest.raises(Exception, match="feature 'is_query'"):
        evaluate(tmp_path, examples)


def test_a_gallery_split_has_flags_of_its_own(tmp_path):
    examples = write(tmp_path / "examples", {IS_QUERY: [int(flag) for flag in QUERY]})
    folder = tmp_path / "examples" / "Split-catalogue"
    folder.mkdir()
    with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
        for row, flag in zip(ROWS, GALLERY, strict=True):
            example = make_example(*row, {IS_GALLERY: int(flag)})
            writer.write(example.SerializeToString())
    examples.split_names = '["eval", "catalogue"]'
    overall = evaluate(tmp_path, examples, gallery="catalogue")["overall"]
    asked = [i for i, flag in enumerate(QUERY) if flag]
    searched = [i for i, flag in enumerate(GALLERY) if flag]
    expected = mean_scores(brute_force(*rows(asked), KS, rows(searched)))
    assert overall["queries"] == len(asked)
    assert overall["map@r"] == pytest.approx(expected["map@r"])
