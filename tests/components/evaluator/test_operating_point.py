"""The operating point through the Evaluator's real executor: metrics, file, slices and the gate."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor
from modules.contract import make_example
from modules.gate import (
    EvaluationReport,
    OperatingPoint,
    operating_point_path,
    read_operating_point,
    read_report,
)
from tests.gate_cases import eval_config
from tests.pixel_models import ALL, FEW, model_artifact
from tests.real_data import BEAM_ARGS, digits
from tests.retrieval_oracle import Rows, labelled_pairs

RATE = 0.05
ROWS = digits(6, classes=range(8))
CAMERAS = [b"left" if i % 3 else b"right" for i in range(len(ROWS))]


class Outcome(NamedTuple):
    """What one run of the executor left."""

    blessed: bool
    reason: str
    point: OperatingPoint | None
    report: EvaluationReport
    properties: dict[str, float]


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri, artifact.split_names = str(tmp_path_factory.mktemp("examples")), '["eval"]'
    (Path(artifact.uri) / "Split-eval").mkdir()
    with tf.io.TFRecordWriter(f"{artifact.uri}/Split-eval/data.gz", "GZIP") as writer:
        for row, camera in zip(ROWS, CAMERAS, strict=True):
            writer.write(make_example(*row, {"camera": camera}).SerializeToString())
    return artifact


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, standard_artifacts.Model]:
    return {
        name: model_artifact(tmp_path_factory.mktemp(name), weights)
        for name, weights in {"all": ALL, "few": FEW}.items()
    }


@pytest.fixture
def evaluate(tmp_path, examples, models):
    """Runs the executor; `stored` is the threshold that lies beside the baseline's blessing."""

    def run(rate: float, stored: float | None = None, max_shift: float | None = None) -> Outcome:
        config = eval_config(
            [1],
            {"map@r": {"lower": 0.0}},
            verification=True,
            false_accept_rate=rate,
            max_threshold_shift=max_shift,
            slice_by=["camera"],
            slice_thresholds={"camera": {"operating_frr": {"upper": 1.0}}},
        )
        inputs = {"examples": [examples], "model": [models["all"]]}
        if stored is not None:
            before = standard_artifacts.ModelBlessing()
            before.uri = str(tmp_path / "before")
            point = OperatingPoint(
                threshold=stored, similarity=1 - stored / 2, false_accept_rate=rate,
                measured_false_accept_rate=rate, true_accept_rate=0.9, threshold_interval=None,
                measured_false_accept_rate_interval=None, true_accept_rate_interval=None,
                level=0.95, impostor_pairs=1, genuine_pairs=1, splits=["eval"],
            )  # fmt: skip
            Path(before.uri).mkdir()
            Path(operating_point_path(before.uri)).write_text(point.model_dump_json())
            inputs |= {"baseline_model": [models["few"]], "baseline_blessing": [before]}
        node = Evaluator(
            examples=channel.Channel(standard_artifacts.Examples),
            model=channel.Channel(standard_artifacts.Model),
            baseline_blessing=channel.Channel(standard_artifacts.ModelBlessing),
            eval_config=config,
            module_path="modules.evaluator",
            max_threshold_shift=max_shift,
        )
        outputs = {
            "evaluation": standard_artifacts.ModelEvaluation(),
            "blessing": standard_artifacts.ModelBlessing(),
        }
        for name, artifact in outputs.items():
            artifact.uri = str(tmp_path / name)
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=BEAM_ARGS, tmp_dir=str(tmp_path / "tmp"), unique_id="1"
        )
        executor.Executor(context).Do(
            inputs,
            {name: [artifact] for name, artifact in outputs.items()},
            {**node.exec_properties, "eval_config": proto_utils.proto_to_json(config)},
        )
        blessing, evaluation = outputs["blessing"], outputs["evaluation"]
        return Outcome(
            blessing.get_int_custom_property("blessed") == 1,
            blessing.get_string_custom_property("reason"),
            read_operating_point(blessing.uri),
            read_report(evaluation.uri),
            {
                name: value.double_value
                for name, value in evaluation.mlmd_artifact.custom_properties.items()
            },
        )

    return run


def rows(weights) -> Rows:
    images = tf.stack([tf.io.decode_png(row[0]) for row in ROWS]).numpy()
    embeddings = (images[:, ::2, ::2, 0] // 64).reshape(-1, 14 * 14) * weights
    return Rows([row[2] for row in ROWS], [row[1] for row in ROWS], embeddings.tolist())


def errors(pairs: list, threshold: float) -> dict[str, float]:
    """By every pair."""
    impostors = [d for _, a, b, d in pairs if a != b]
    genuine = [d for _, a, b, d in pairs if a == b]
    return {
        "operating_far": sum(d < threshold for d in impostors) / len(impostors),
        "operating_frr": sum(d >= threshold for d in genuine) / len(genuine),
        "genuine_pairs": len(genuine),
        "impostor_pairs": len(impostors),
    }


def operating_threshold(pairs: list) -> float:
    """The largest distance before which not too many pairs of two classes lie."""
    found = sorted({d for *_, d in pairs})
    return max(t for t in found if errors(pairs, t)["operating_far"] <= RATE)


def test_a_first_model_has_a_point_with_its_errors_in_every_slice(evaluate):
    outcome = evaluate(RATE)
    assert outcome.blessed
    pairs = list(labelled_pairs(rows(ALL), rows(ALL)))
    threshold = operating_threshold(pairs)
    expected = errors(pairs, threshold)
    point, overall = outcome.point, outcome.report.metrics["candidate"]["overall"]
    assert point == outcome.report.operating_point
    assert (point.threshold, point.similarity) == (threshold, 1 - threshold / 2)
    assert overall["operating_threshold"] == threshold
    assert {name: overall[name] for name in expected} == expected
    assert point.measured_false_accept_rate == expected["operating_far"]
    assert point.true_accept_rate == pytest.approx(1 - expected["operating_frr"])
    assert (point.impostor_pairs, point.genuine_pairs) == (48 * 42, 48 * 5)
    assert point.splits == ["eval"]
    lower, upper = point.threshold_interval
    assert lower < threshold < upper
    assert point.threshold_interval == outcome.report.intervals["candidate"]["overall"][
        "operating_threshold"
    ]  # fmt: skip
    lower, upper = point.true_accept_rate_interval
    assert lower < point.true_accept_rate < upper
    assert outcome.report.shift is None
    for camera in ("left", "right"):
        ids = {row[2] for row, of_row in zip(ROWS, CAMERAS, strict=True)
               if of_row == camera.encode()}  # fmt: skip
        of_slice = outcome.report.metrics["candidate"][f"camera={camera}"]
        wanted = errors([pair for pair in pairs if pair[0] in ids], threshold)
        assert {name: of_slice[name] for name in wanted} == wanted
        assert "operating_threshold" not in of_slice
    assert outcome.properties["candidate operating_threshold"] == threshold
    # 48 · 42 · 0.05 = 100.8 false accepts are enough to speak of.
    assert outcome.reason == "every threshold is met"


def test_a_threshold_that_has_moved_too_far_is_not_blessed(evaluate):
    pairs = list(labelled_pairs(rows(ALL), rows(ALL)))
    threshold = operating_threshold(pairs)
    own = operating_threshold(list(labelled_pairs(rows(FEW), rows(FEW))))
    stored = threshold / 1.5
    outcome = evaluate(RATE, stored=stored, max_shift=0.4)
    assert not outcome.blessed
    assert outcome.reason == (
        f"operating_threshold (overall): {threshold:.4f} is 50.00% above the threshold that was "
        f"stored with the last blessed model ({stored:.4f}), at most 40.00% is allowed: "
        "applications that use it would err at another rate; on the same images that model's own "
        f"is {own:.4f}, {abs(threshold - own) / own:.2%} away"
    )
    shift = outcome.report.shift
    assert shift.from_stored == pytest.approx(1 / 2)
    assert (shift.stored, shift.baseline) == (stored, own)
    assert outcome.report.metrics["baseline"]["overall"]["operating_threshold"] == own
    assert outcome.point is not None  # for people; Pusher takes those of blessed models
