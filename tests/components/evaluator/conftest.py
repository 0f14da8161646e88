"""Models, examples and the node, for tests of its verdict and of its gallery."""

from __future__ import annotations

import pytest
from tfx.types import standard_artifacts

from tests.components.evaluator import evaluator_node
from tests.components.evaluator.evaluator_node import CATALOGUE, ROWS
from tests.pixel_models import ALL, FEW, NAN, NONE, model_artifact
from tests.real_data import examples_artifact


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, standard_artifacts.Model]:
    return {
        name: model_artifact(tmp_path_factory.mktemp(name), weights)
        for name, weights in {"all": ALL, "few": FEW, "nan": NAN, "none": NONE}.items()
    }


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> standard_artifacts.Examples:
    splits = {"eval": ROWS, "catalogue": CATALOGUE}
    return examples_artifact(tmp_path_factory.mktemp("examples"), splits)


@pytest.fixture
def evaluate(tmp_path, examples):
    """Runs the executor; `model` is the candidate, `baseline_model` the last blessed one."""

    def run(eval_config, examples=examples, **arguments) -> evaluator_node.Outcome:
        return evaluator_node.make(tmp_path, examples, eval_config, **arguments)

    return run
