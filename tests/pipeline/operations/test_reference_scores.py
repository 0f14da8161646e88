"""The reference scores after a real run up to Transform, on real digits."""

from __future__ import annotations

import dataclasses
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from PIL import Image
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.local.local_dag_runner import LocalDagRunner

from modules.contract import make_example
from pipeline.commands.reference_scores import reference_scores_command, score_table
from pipeline.config import Config, load_config
from pipeline.definition import create_pipeline
from pipeline.metadata import Evaluation, NodeRun, latest_run
from pipeline.operations.reference_scores import (
    _raw_pixels,
    latest_reference_scores,
    reference_scores_of,
)
from pipeline.runtime import NotRunError
from tests.real_data import digits, examples_artifact
from tests.retrieval_oracle import Rows, brute_force, mean_scores, with_distractors

KS = [1, 5]
ROWS = {"train": digits(20), "eval": digits(8, start=100)}


@pytest.fixture(scope="module")
def config(tmp_path_factory) -> Config:
    """The configuration of a pipeline that has run as far as Transform."""
    root = tmp_path_factory.mktemp("reference_scores")
    for split, rows in ROWS.items():
        (root / "data" / split).mkdir(parents=True)
        with tf.io.TFRecordWriter(str(root / "data" / split / "data.tfrecord")) as writer:
            for row in rows:
                writer.write(make_example(*row).SerializeToString())
    (root / "config.toml").write_text(f"""
[pipeline]
name = "reference_scores"
directory = "{root}"
[data]
path = "{root}/data"
[evaluation]
ks = {KS}
""")
    config = load_config(str(root / "config.toml"))
    LocalDagRunner().run(create_pipeline(config), tfx_pipeline.RunOptions(to_nodes=["Transform"]))
    return config


def pixels_of(rows) -> np.ndarray:
    images = [np.asarray(Image.open(io.BytesIO(image)), np.float64) for image, _, _ in rows]
    return np.stack(images).reshape(len(rows), -1) / 255


def test_raw_pixels_score_as_a_brute_force_over_them(config):
    figures = latest_reference_scores(config)
    assert list(figures) == ["untrained", "raw_pixels"]  # nothing was evaluated yet
    train = pixels_of(ROWS["train"])
    embeddings = (pixels_of(ROWS["eval"]) - train.mean()) / train.std()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    _, labels, ids = zip(*ROWS["eval"], strict=True)
    expected = mean_scores(brute_force(ids, labels, embeddings.tolist(), KS))
    found = {name: figures["raw_pixels"][name] for name in ("precision@1", "precision@5", "map@r")}
    # Float32 and the rounded mean may swap neighbours that are practically as near.
    assert found == pytest.approx({name: expected[name] for name in found}, abs=0.01)
    assert 0.5 < found["precision@1"] < 1


def test_an_untrained_network_is_far_above_chance_and_always_the_same(config):
    figures = latest_reference_scores(config)
    assert 0.5 < figures["untrained"]["precision@1"] < 1  # chance is 7/79
    assert figures["untrained"] != figures["raw_pixels"]
    assert latest_reference_scores(config) == figures


def test_the_candidate_stands_beside_them(config):
    measured = {"precision@1": 0.97, "map@r": 0.9, "queries": 80.0}
    evaluation = Evaluation({"candidate": {"overall": measured}}, True, [])
    run = dataclasses.replace(latest_run(config), evaluation=evaluation)
    figures = reference_scores_of(config, run)
    assert figures["candidate"] == {"precision@1": 0.97, "map@r": 0.9}
    assert list(figures) == ["candidate", "untrained", "raw_pixels"]
    # Evaluated with other ks than are configured now: what is missing stays empty.
    columns = score_table(figures).columns
    cells = dict(zip(columns[0].cells, columns[1].cells, strict=True))
    assert (cells["precision@1"], cells["precision@5"]) == ("0.9700", "")


def test_untrained_has_random_weights_also_where_training_starts_from_others(config):
    weights = {"weights": "/no/such/file.weights.h5", "trainable": "fine_tune"}
    other = config.model_copy(update={"model": config.model.model_copy(update=weights)})
    assert (
        latest_reference_scores(other)["untrained"] == latest_reference_scores(config)["untrained"]
    )


def test_the_gallery_may_be_another_split(config):
    evaluation = config.evaluation.model_copy(update={"gallery_split": "train"})
    figures = latest_reference_scores(config.model_copy(update={"evaluation": evaluation}))
    train, queries = (pixels_of(ROWS[split]) for split in ("train", "eval"))
    mean, deviation = train.mean(), train.std()
    embedded = {}
    for split, rows in (("train", train), ("eval", queries)):
        vectors = (rows - mean) / deviation
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        _, labels, ids = zip(*ROWS[split], strict=True)
        embedded[split] = Rows(ids, labels, vectors.tolist())
    expected = mean_scores(brute_force(*embedded["eval"], KS, embedded["train"]))
    found = {name: figures["raw_pixels"][name] for name in ("precision@1", "precision@5", "map@r")}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=0.01)
    evaluation = config.evaluation.model_copy(update={"gallery_split": "catalogue"})
    with pytest.raises(NotRunError, match="no examples of the split 'catalogue'"):
        latest_reference_scores(config.model_copy(update={"evaluation": evaluation}))


def test_every_span_of_the_window_is_read(config, tmp_path):
    """As WindowResolver gives them; a fixed span for the evaluation goes before the window."""
    run = latest_run(config)
    parts = [
        examples_artifact(tmp_path / str(i), {"eval": ROWS["eval"][i::2]}).uri for i in range(2)
    ]
    window = NodeRun("WindowResolver", "run", 0.0, None, {}, {"examples": parts})
    alone = NodeRun("EvaluationResolver", "run", 0.0, None, {}, {"examples": parts[:1]})

    def compare(*resolvers: NodeRun) -> dict:
        return reference_scores_of(config, dataclasses.replace(run, nodes=[*run.nodes, *resolvers]))

    whole, half = compare(window), compare(window, alone)
    assert whole == latest_reference_scores(config)
    assert half["raw_pixels"] != whole["raw_pixels"]


def test_queries_gallery_and_what_is_excluded_are_those_of_the_evaluator(config, tmp_path):
    rows = ROWS["eval"]
    cameras = [i % 3 for i in range(len(rows))]
    asked = [i for i in range(len(rows)) if i % 2]
    searched = [i for i in range(len(rows)) if i % 5]
    others = [(image, b"background", id_) for image, _, id_ in digits(2, start=200)]
    folder = tmp_path / "examples" / "Split-eval"
    for split, images in (("eval", rows), ("distractors", others)):
        folder.with_name(f"Split-{split}").mkdir(parents=True)
        path = folder.with_name(f"Split-{split}") / "data.gz"
        with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
            for i, row in enumerate(images):
                flags = {"is_query": int(i in asked), "is_gallery": int(i in searched)}
                example = make_example(*row, {"camera": cameras[i], **flags})
                writer.write(example.SerializeToString())
    run = latest_run(config)
    node = NodeRun("WindowResolver", "run", 0.0, None, {}, {"examples": [str(folder.parent)]})
    evaluation = config.evaluation.model_copy(update={"exclude_same": ["camera"]})
    data = config.data.model_copy(update={"distractors": ["background"]})
    figures = reference_scores_of(
        config.model_copy(update={"evaluation": evaluation, "data": data}),
        dataclasses.replace(run, nodes=[*run.nodes, node]),
    )
    train = pixels_of(ROWS["train"])
    embeddings = (pixels_of([*rows, *others]) - train.mean()) / train.std()
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)

    def part(chosen: list[int]) -> tuple[Rows, list[list[int]]]:
        _, labels, ids = zip(*(rows[i] for i in chosen), strict=True)
        return Rows(ids, labels, embeddings[chosen].tolist()), [[cameras[i] for i in chosen]]

    (queries, columns), (gallery, gallery_columns) = part(asked), part(searched)
    more = [i for i in range(len(others)) if i % 5]  # a flag of theirs counts too
    of_others = Rows([others[i][2] for i in more], [], embeddings[len(rows) :][more].tolist())
    gallery = with_distractors(gallery, of_others)
    gallery_columns = [[*gallery_columns[0], *(cameras[i] for i in more)]]
    expected = mean_scores(brute_force(*queries, KS, gallery, columns, gallery_columns))
    found = {name: figures["raw_pixels"][name] for name in ("precision@1", "precision@5", "map@r")}
    assert found == pytest.approx({name: expected[name] for name in found}, abs=0.01)


def test_the_command_prints_json_or_a_table(config):
    path = str(Path(config.pipeline.directory) / "config.toml")
    printed = CliRunner().invoke(reference_scores_command, ["--config", path, "--json"])
    assert json.loads(printed.stdout) == latest_reference_scores(config)
    table = CliRunner().invoke(reference_scores_command, ["--config", path]).stdout
    assert "raw pixels" in table
    assert f"{latest_reference_scores(config)['untrained']['map@r']:.4f}" in table


def test_large_images_are_averaged_down():
    images = tf.random.stateless_uniform([2, 64, 16, 3], [1, 2])
    vectors = _raw_pixels(images).numpy()
    assert vectors.shape == (2, 32 * 16 * 3)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)
    pairs = images.numpy().reshape(2, 32, 2, 16, 3).mean(axis=2).reshape(2, -1)
    pairs /= np.linalg.norm(pairs, axis=1, keepdims=True)
    np.testing.assert_allclose(vectors, pairs, rtol=1e-5)


def test_before_the_first_run(config, tmp_path):
    settings = config.pipeline.model_copy(update={"directory": str(tmp_path)})
    with pytest.raises(NotRunError, match="has not run yet"):
        latest_reference_scores(config.model_copy(update={"pipeline": settings}))


def test_a_run_that_did_not_get_that_far(config):
    run = dataclasses.replace(latest_run(config), nodes=[])
    with pytest.raises(NotRunError, match="did not get that far"):
        reference_scores_of(config, run)
