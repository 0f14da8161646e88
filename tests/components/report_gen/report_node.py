"""Evaluator and ReportGen through their real executors, on real digits and small models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import tensorflow as tf
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import channel, standard_artifacts
from tfx.utils import proto_utils

from components.evaluator import Evaluator, executor as evaluator
from components.report_gen import EvaluationReport, ReportGen, executor as report_gen
from modules.gate import make_eval_config
from modules.settings import EvaluationSettings, ModelSettings, ReportSettings, TrainingSettings
from tests.pixel_models import ALL, FEW, model_artifact
from tests.real_data import BEAM_ARGS, Row, digits, examples_artifact

HOSTILE = b"<script>alert(1)</script>\x1b[31m"
SETTINGS = EvaluationSettings(
    ks=[1, 5],
    verification=True,
    false_accept_rate=0.05,
    thresholds={
        "precision@1": {"lower": 0.3, "max_drop": 0.5},
        "map@r": {"lower": 0.99},
        "recall@5": {"no_worse": 0.9, "undecided": "bless"},
    },  # type: ignore[dict-item]
)


def rows(per_class: int = 12) -> list[Row]:
    """Digits 3 to 9; the nines have a hostile name."""
    return [
        (image, HOSTILE if label == b"9" else label, name)
        for image, label, name in digits(per_class, classes=range(3, 10))
    ]


class Reported:
    """What both nodes have written.

    Args:
        root: A folder for all of it.
        baseline: Whether there is a last blessed model.
    """

    def __init__(self, root: Path, *, baseline: bool = True) -> None:
        self.root = root
        self.examples = examples_artifact(root / "examples", {"eval": rows()})
        self.examples.set_int_custom_property("images", len(rows()))
        self.inputs: dict[str, list[Any]] = {
            "examples": [self.examples],
            "model": [model_artifact(root / "model", ALL)],
        }
        if baseline:
            self.inputs["baseline_model"] = [model_artifact(root / "baseline", FEW)]
        self.context = BaseBeamExecutor.Context(
            beam_pipeline_args=BEAM_ARGS, tmp_dir=str(root / "tmp"), unique_id="1"
        )
        self._evaluate()
        run = standard_artifacts.ModelRun()
        run.uri = str(root / "run")
        writer = tf.summary.create_file_writer(f"{run.uri}/train")
        with writer.as_default():
            for step in range(3):
                tf.summary.scalar("epoch_loss", 1 / (1 + step), step)
        writer.close()
        Path(run.uri, "training.json").write_text(
            json.dumps({"steps": 30, "seconds": 2.5, "stopped": "steps used up", "advice": ["<b>"]})
        )
        self.inputs["model_run"] = [run]

    def _evaluate(self) -> None:
        config = make_eval_config(SETTINGS)
        node = Evaluator(
            examples=channel.Channel(standard_artifacts.Examples),
            model=channel.Channel(standard_artifacts.Model),
            eval_config=config,
            module_path="modules.evaluator",
            kept_neighbours=5,
        )
        properties = {**node.exec_properties, "eval_config": proto_utils.proto_to_json(config)}
        made = {
            "evaluation": standard_artifacts.ModelEvaluation(),
            "blessing": standard_artifacts.ModelBlessing(),
        }
        for name, artifact in made.items():
            artifact.uri = str(self.root / name)
        evaluator.Executor(self.context).Do(
            self.inputs, {name: [one] for name, one in made.items()}, properties
        )
        self.inputs |= {name: [one] for name, one in made.items()}

    def report(self, name: str, **inputs: list[Any]) -> EvaluationReport:
        """Runs ReportGen into a folder of this name; `inputs` replace those there are."""
        made = EvaluationReport()
        made.uri = str(self.root / name)
        node = ReportGen(
            **{key: channel.Channel(type(one[0])) for key, one in self.inputs.items()},
            settings=ReportSettings(neighbours=5),
            tables={
                "model": ModelSettings().model_dump(mode="json"),
                "training": TrainingSettings().model_dump(mode="json"),
                "data": {"path": "<photos>"},
                "evaluation": SETTINGS.model_dump(mode="json", exclude_defaults=True),
            },
            pipeline_name="digits <b>",
        )
        report_gen.Executor(self.context).Do(
            {**self.inputs, **inputs}, {"report": [made]}, dict(node.exec_properties)
        )
        return made
