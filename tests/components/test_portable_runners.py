"""Nodes on job servers of Apache Beam write the same bytes as in their own process."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from pipeline.config import BeamSettings
from tests.components.index_gen import index_node
from tests.components.portable import (
    needs_prism,
    prism_job_server,
    python_job_server,
    worker_pool,
)
from tests.components.triplet_gen import triplet_node
from tests.real_data import digits, examples_artifact


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> standard_artifacts.Examples:
    rows = digits(8)
    splits = {"train": rows[:50], "eval": rows[50:]}
    return examples_artifact(tmp_path_factory.mktemp("examples"), splits)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> standard_artifacts.Model:
    return index_node.model_artifact(tmp_path_factory.mktemp("model"))


def run_nodes(folder: Path, examples, model, beam: BeamSettings) -> tuple[dict, dict]:
    """What TripletGen and IndexGen write, by path."""
    arguments = beam.arguments
    triplets = triplet_node.make(
        folder / "triplets", examples, arguments, [model], strategy="semi_hard"
    )
    index = index_node.make(folder / "index", examples, model, beam_args=arguments)
    return triplet_node.contents(triplets), index_node.contents(index)


@pytest.fixture(scope="module")
def in_process(tmp_path_factory, examples, model) -> tuple[dict, dict]:
    return run_nodes(tmp_path_factory.mktemp("here"), examples, model, BeamSettings(workers=2))


@pytest.mark.parametrize(
    ("server", "pool"),
    [
        (python_job_server, False),
        pytest.param(prism_job_server, False, marks=needs_prism),
        pytest.param(prism_job_server, True, marks=needs_prism),
    ],
    ids=["python", "prism", "prism-worker-pool"],
)
def test_equal_results(
    tmp_path: Path, examples, model, in_process, server: Callable, *, pool: bool
) -> None:
    with contextlib.ExitStack() as servers:
        settings = {"runner": "portable", "endpoint": servers.enter_context(server(tmp_path))}
        if pool:
            settings["worker_pool"] = servers.enter_context(worker_pool(tmp_path))
        beam = BeamSettings(**settings)
        beam.check_reachable()
        found = run_nodes(tmp_path, examples, model, beam)
    log = (tmp_path / ("prism.log" if server is prism_job_server else "job-server.log")).read_text()
    assert found == in_process, log
