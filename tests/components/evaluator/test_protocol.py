"""Who is a query, who may be found and who is left out, through the Evaluator's real executor.

Every metric there is keeps to one protocol, so every one is compared with the oracle in each case.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor
from modules.contract import DISTRACTORS, GALLERY, IS_GALLERY, IS_QUERY, Value, make_example
from modules.gate import EvaluationReport, read_report
from modules.gate.report import CHANGE
from modules.retrieval import change_intervals, metric_names, score_names
from modules.retrieval.clustering import clustering_metrics
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, FEW, model_artifact
from tests.real_data import BEAM_ARGS, digits
from tests.retrieval_oracle import (
    Rows,
    brute_force,
    mean_scores,
    pairs,
    set_metrics,
    verification,
    with_distractors,
)

KS = [1, 5]
MODELS = {"candidate": ALL, "baseline": FEW}


class Split(NamedTuple):
    """Images, and features by name."""

    rows: list[tuple[bytes, bytes, bytes]]
    features: dict[str, list[Value]]

    def chosen(self, flag: str) -> list[int]:
        """Where the flag is not 0; everything if there is none."""
        flags = self.features.get(flag, [1] * len(self.rows))
        return [i for i, value in enumerate(flags) if value]

    def embedded(self, weights: np.ndarray, chosen: list[int]) -> Rows:
        images = tf.stack([tf.io.decode_png(self.rows[i][0]) for i in chosen]).numpy()
        embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14) * weights
        _, labels, ids = zip(*(self.rows[i] for i in chosen), strict=True)
        return Rows(ids, labels, embeddings.astype(np.float32))

    def columns(self, names: list[str], chosen: list[int]) -> list[list[Value]]:
        return [[self.features[name][i] for i in chosen] for name in names]


class Case(NamedTuple):
    """What is evaluated, and how."""

    splits: dict[str, Split]
    exclude_same: list[str]
    gallery: str | None = None


def split_of(rows: list, *flags: str) -> Split:
    every = {
        "camera": [b"left" if i % 3 else b"right" for i in range(len(rows))],
        "sequence": [i // 2 for i in range(len(rows))],
        IS_QUERY: [int(i % 4 == 0) for i in range(len(rows))],
        IS_GALLERY: [int(i % 5 != 0) for i in range(len(rows))],
    }
    return Split(rows, {name: every[name] for name in ("camera", "sequence", *flags)})


ROWS = digits(8, classes=range(5))
BACKGROUND = [(image, b"background", id_) for image, _, id_ in digits(4, start=90)]
FLAGS = (IS_QUERY, IS_GALLERY)
CASES = {
    "another camera": Case({"eval": split_of(ROWS)}, ["camera"]),
    "flags, cameras, sequences, distractors": Case(
        {"eval": split_of(ROWS, *FLAGS), DISTRACTORS: split_of(BACKGROUND, *FLAGS)},
        ["camera", "sequence"],
    ),
    "some are found, and distractors": Case(
        {"eval": split_of(ROWS, IS_GALLERY), DISTRACTORS: split_of(BACKGROUND, IS_GALLERY)}, []
    ),
    "one image of each class, a gallery of its own, distractors": Case(
        {
            "eval": split_of(digits(1, start=60)),
            GALLERY: split_of(digits(4, start=30), IS_GALLERY),
            DISTRACTORS: split_of(BACKGROUND, IS_GALLERY),
        },
        ["camera"],
        gallery=GALLERY,
    ),
}


def write(root: Path, splits: Mapping[str, Split]) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(root)
    artifact.split_names = artifact_utils.encode_split_names(list(splits))
    for name, split in splits.items():
        folder = root / f"Split-{name}"
        folder.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(folder / "data.gz"), "GZIP") as writer:
            for i, row in enumerate(split.rows):
                further = {feature: values[i] for feature, values in split.features.items()}
                writer.write(make_example(*row, further).SerializeToString())
    return artifact


class Evaluated(NamedTuple):
    """What the Evaluator found, and what it keeps on its artifact for the history."""

    report: EvaluationReport
    kept: dict[str, float]


def evaluate(root: Path, examples, models=MODELS, gallery=None, **settings) -> Evaluated:
    """Judges models whose embedding is the image."""
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
    inputs = {
        {"candidate": "model", "baseline": "baseline_model"}[name]: [
            model_artifact(root / name, weights)
        ]
        for name, weights in models.items()
    }
    executor.Executor(context).Do(
        {"examples": [examples], **inputs},
        {name: [artifact] for name, artifact in outputs.items()},
        {**node.exec_properties, "eval_config": proto_utils.proto_to_json(config)},
    )
    properties = outputs["evaluation"].mlmd_artifact.custom_properties
    return Evaluated(
        read_report(str(root / "evaluation")),
        {name: value.double_value for name, value in properties.items()},
    )


class Expected(NamedTuple):
    """What the oracle says of one model."""

    scores: dict[bytes, dict[str, float] | None]  # by id of the query
    overall: dict[str, float]


def expected(case: Case, weights: np.ndarray) -> Expected:
    """Loops over the queries that count and the gallery that counts, distractors included."""
    asked = case.splits["eval"]
    searched = case.splits[case.gallery or "eval"]
    queries = asked.embedded(weights, asked.chosen(IS_QUERY))
    found = searched.chosen(IS_GALLERY)
    gallery = searched.embedded(weights, found)
    gallery_columns = searched.columns(case.exclude_same, found)
    if DISTRACTORS in case.splits:
        others = case.splits[DISTRACTORS]
        more = others.chosen(IS_GALLERY)
        gallery = with_distractors(gallery, others.embedded(weights, more))
        of_others = others.columns(case.exclude_same, more)
        gallery_columns = [
            [*mine, *theirs] for mine, theirs in zip(gallery_columns, of_others, strict=True)
        ]
    columns = asked.columns(case.exclude_same, asked.chosen(IS_QUERY))
    scores = brute_force(*queries, KS, gallery, columns, gallery_columns)
    distances, same = map(np.array, pairs(queries, gallery, columns, gallery_columns))
    by_id = np.argsort(queries.ids)
    return Expected(
        scores,
        {
            **mean_scores(scores),
            "queries": len(queries.ids),
            "excluded_queries": sum(row is None for row in scores.values()),
            "non_finite_embeddings": 0,
            # Of the queries alone: their gallery says nothing of how they lie.
            **set_metrics(queries.embeddings),
            **clustering_metrics(
                np.array(queries.embeddings)[by_id], np.array(queries.labels, object)[by_id]
            ),
            "gallery_size": len(gallery.ids),
            # A distractor is never of the query's class: all its pairs are of two classes.
            **verification(distances[same].tolist(), distances[~same].tolist()),
        },
    )


class Outcome(NamedTuple):
    case: Case
    report: EvaluationReport
    kept: dict[str, float]
    expected: dict[str, Expected]  # by model


@pytest.fixture(scope="module", params=CASES)
def outcome(request, tmp_path_factory) -> Outcome:
    case, root = CASES[request.param], tmp_path_factory.mktemp("protocol")
    report, kept = evaluate(
        root,
        write(root / "examples", case.splits),
        gallery=case.gallery,
        exclude_same=case.exclude_same,
        verification=True,
        clustering=True,
        slice_by=["camera"],
    )
    return Outcome(case, report, kept, {model: expected(case, w) for model, w in MODELS.items()})


@pytest.mark.parametrize("metric", metric_names(KS, verification=True, clustering=True))
def test_every_metric_follows_the_protocol(outcome, metric):
    for model in MODELS:
        found = outcome.report.metrics[model]["overall"][metric]
        wanted = outcome.expected[model].overall[metric]
        # Pairs are counted in bins, and a threshold is the upper edge of one.
        tolerance = 2**-10 if metric == "eer_threshold" else 1e-6
        assert found == pytest.approx(wanted, rel=tolerance), model


@pytest.mark.parametrize("metric", score_names(KS))
def test_so_do_changes_their_intervals_and_slices(outcome, metric):
    split = outcome.case.splits["eval"]
    of_class: dict[bytes, list[float]] = {}
    of_camera: dict[bytes, list[float]] = {b"left": [], b"right": []}
    for i in split.chosen(IS_QUERY):
        _, label, id_ = split.rows[i]
        now, before = (outcome.expected[model].scores[id_] for model in MODELS)
        if now is not None:
            of_class.setdefault(label, []).append(now[metric] - before[metric])
            of_camera[split.features["camera"][i]].append(now[metric])
    # Classes are those of scored queries, in the order of their labels; "background" is none.
    rows = [changes for _, changes in sorted(of_class.items())]
    sums, counts = (np.array([of(row) for row in rows], np.float64) for of in (sum, len))
    wanted = change_intervals(counts, sums[:, None])[:, 0]
    change = outcome.report.metrics[CHANGE]["overall"]
    assert change[metric] == pytest.approx(sums.sum() / counts.sum(), abs=1e-6)
    assert change["resampled classes"] == len(rows)
    assert outcome.report.intervals[CHANGE]["overall"][metric] == pytest.approx(wanted, abs=1e-5)
    for camera, values in of_camera.items():
        found = outcome.report.metrics["candidate"][f"camera={camera.decode()}"][metric]
        assert found == pytest.approx(np.mean(values), rel=1e-6)


@pytest.mark.parametrize("metric", ["precision@1", "map@r"])
def test_the_history_gets_the_main_metrics_and_the_intervals_of_their_changes(outcome, metric):
    for model in MODELS:
        value = outcome.report.metrics[model]["overall"][metric]
        assert outcome.kept[f"{model} {metric}"] == pytest.approx(value)
    found = [outcome.kept[f"change {metric} {end}"] for end in ("lower", "upper")]
    assert found == pytest.approx(list(outcome.report.intervals[CHANGE]["overall"][metric]))
    assert outcome.kept["change interval level"] == 0.95


def test_a_flag_that_only_some_examples_have_is_named(tmp_path):
    examples = write(tmp_path / "examples", {"eval": split_of(ROWS, IS_QUERY)})
    record = make_example(b"x", b"x", b"other").SerializeToString()
    with tf.io.TFRecordWriter(
        str(tmp_path / "examples" / "Split-eval" / "more.gz"), "GZIP"
    ) as writer:
        writer.write(record)
    with pytest.raises(Exception, match="feature 'is_query'"):
        evaluate(tmp_path, examples, {"candidate": ALL})


def test_distractors_need_the_features_of_the_gallery(tmp_path):
    splits = {"eval": split_of(ROWS, IS_GALLERY), DISTRACTORS: split_of(BACKGROUND)}
    with pytest.raises(Exception, match="feature 'is_gallery'"):
        evaluate(tmp_path, write(tmp_path / "examples", splits), {"candidate": ALL})
