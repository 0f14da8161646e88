"""Runs the Evaluator's real executor on real digits for the tests, and reads what it wrote."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import tensorflow_model_analysis as tfma
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor
from modules.gate.report import EvaluationReport, Metrics, read_report
from modules.gate.result import read_metrics
from tests.real_data import BEAM_ARGS, digits

KS = [1, 5]
# 6 of most classes, and one nine that has no positive.
ROWS = [*digits(6, classes=range(9)), *digits(1, classes=[9])]
CATALOGUE = digits(4, start=50)


class Outcome(NamedTuple):
    """What one run of the executor left."""

    blessed: bool
    reason: str
    metrics: Metrics
    files: dict[str, str]  # of the blessing
    validation: tfma.proto.validation_result_pb2.ValidationResult
    report: EvaluationReport


def make(
    folder: Path, examples, eval_config, gallery_split=None, gallery=None, **models
) -> Outcome:
    """Runs the executor with the properties that the node would hand it."""
    node = Evaluator(
        examples=channel.Channel(standard_artifacts.Examples),
        model=channel.Channel(standard_artifacts.Model),
        eval_config=eval_config,
        module_path="modules.evaluator",
        gallery_split=gallery_split,
    )
    properties = dict(node.exec_properties)
    properties["eval_config"] = proto_utils.proto_to_json(eval_config)
    artifacts = {
        "evaluation": standard_artifacts.ModelEvaluation(),
        "blessing": standard_artifacts.ModelBlessing(),
    }
    for name, artifact in artifacts.items():
        artifact.uri = str(folder / name)
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    inputs = {"examples": [examples], **{name: [model] for name, model in models.items()}}
    if gallery is not None:
        inputs["gallery"] = [gallery]
    executor.Executor(context).Do(
        inputs, {name: [artifact] for name, artifact in artifacts.items()}, properties
    )
    assert not list((folder / "tmp").rglob("*.npy"))
    blessing, written = artifacts["blessing"], folder / "blessing"
    return Outcome(
        blessing.get_int_custom_property("blessed") == 1,
        blessing.get_string_custom_property("reason"),
        read_metrics(artifacts["evaluation"].uri),
        {path.name: path.read_text() for path in written.iterdir()} if written.exists() else {},
        tfma.load_validation_result(artifacts["evaluation"].uri),
        read_report(artifacts["evaluation"].uri),
    )
