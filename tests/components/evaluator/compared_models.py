"""The Evaluator's executor with two small real models, and what it leaves of their comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor
from modules.compatibility import (
    ChurnReport,
    CompatibilityReport,
    read_churn,
    read_compatibility,
)
from modules.contract import IMAGE
from modules.gate import EvaluationReport, read_report
from modules.settings import CompatibilitySettings
from tests.gate_cases import eval_config
from tests.real_data import BEAM_ARGS, Row

SIDE = 7


class Linear(tf.Module):
    """A model whose embedding is the image at 7×7 in 4 levels of gray, times a matrix [49, D]."""

    def __init__(self, matrix: np.ndarray) -> None:
        super().__init__()
        self.matrix = tf.constant(matrix, tf.float32)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve(self, examples):
        parsed = tf.io.parse_example(examples, {IMAGE: tf.io.FixedLenFeature([], tf.string)})
        images = tf.map_fn(tf.io.decode_png, parsed[IMAGE], fn_output_signature=tf.uint8)
        gray = tf.cast(tf.ensure_shape(images, [None, 28, 28, 1])[:, ::4, ::4] // 64, tf.float32)
        return {"embedding": tf.reshape(gray, [-1, SIDE * SIDE]) @ self.matrix}


def embed(rows: list[Row], matrix: np.ndarray) -> np.ndarray:
    """What `Linear` gives, float32 [N, D]."""
    images = np.stack([tf.io.decode_png(row[0]).numpy()[::4, ::4, 0] // 64 for row in rows])
    return images.reshape(len(rows), -1).astype(np.float32) @ matrix.astype(np.float32)


def linear_model(folder: Path, matrix: np.ndarray) -> standard_artifacts.Model:
    """Saves the model as Trainer saves one."""
    artifact = standard_artifacts.Model()
    artifact.uri = str(folder)
    module = Linear(matrix)
    tf.saved_model.save(module, f"{folder}/Format-Serving", {"serving_default": module.serve})
    return artifact


class Outcome(NamedTuple):
    """What one run of the executor left."""

    blessed: bool
    reason: str
    report: EvaluationReport
    compatibility: CompatibilityReport | None
    churn: ChurnReport | None
    evaluation: standard_artifacts.ModelEvaluation
    blessing: standard_artifacts.ModelBlessing


def evaluate(
    folder: Path,
    examples: standard_artifacts.Examples,
    new: standard_artifacts.Model,
    old: standard_artifacts.Model | None,
    *,
    ks: tuple[int, ...] = (1, 5),
    **settings: Any,
) -> Outcome:
    """Runs the executor with the properties that the node would hand it."""
    config = eval_config(list(ks), {"map@r": {"lower": 0.0}})
    node = Evaluator(
        examples=channel.Channel(standard_artifacts.Examples),
        model=channel.Channel(standard_artifacts.Model),
        eval_config=config,
        module_path="modules.evaluator",
        compatibility=CompatibilitySettings(**settings),
    )
    properties = dict(node.exec_properties)
    properties["eval_config"] = proto_utils.proto_to_json(config)
    evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
    evaluation.uri, blessing.uri = str(folder / "evaluation"), str(folder / "blessing")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    inputs = {"examples": [examples], "model": [new]}
    if old is not None:
        inputs["baseline_model"] = [old]
    executor.Executor(context).Do(
        inputs, {"evaluation": [evaluation], "blessing": [blessing]}, properties
    )
    return Outcome(
        blessing.get_int_custom_property("blessed") == 1,
        blessing.get_string_custom_property("reason"),
        read_report(evaluation.uri),
        read_compatibility(evaluation.uri),
        read_churn(evaluation.uri),
        evaluation,
        blessing,
    )
