"""What the entrypoint of a pod imports."""

from __future__ import annotations

import subprocess
import sys

from pipeline.config.paths import PROJECT

SCRIPT = """
import sys
import kubeflow.node
heavy = ("tensorflow_model_analysis", "tensorflow_transform", "tensorflow_data_validation", "kfp")
print([name for name in heavy if name in sys.modules])
import tfx.components
from tfx.components import Trainer
from tfx import v1
print(Trainer is v1.components.Trainer, "Evaluator" in dir(tfx.components))
from tfx.components.evaluator import executor
import tensorflow_model_analysis as tfma
print(tfma.SlicingSpec(feature_keys=["label"]).feature_keys)
"""


def test_the_entrypoint_leaves_components_alone_until_they_are_used() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["[]", "True True", "['label']"], done.stderr
