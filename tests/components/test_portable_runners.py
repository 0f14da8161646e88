"""Nodes on job servers of Apache Beam write the same bytes as in their own process.

Of the Evaluator its search, which shares files among the workers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import pytest
from tfx.types import standard_artifacts

from modules.retrieval import Kept, ScoreQueries
from pipeline.config import BeamSettings
from tests.components.index_gen import index_node
from tests.components.portable import (
    needs_prism,
    prism_job_server,
    python_job_server,
    worker_pool,
)
from tests.components.triplet_gen import triplet_node
from tests.modules.retrieval.test_kept_queries import only_candidate
from tests.modules.retrieval.test_transforms import KS, in_batches, make_rows
from tests.real_data import digits, examples_artifact


@pytest.fixture(scope="module")
def examples(tmp_path_factory) -> standard_artifacts.Examples:
    rows = digits(8)
    splits = {"train": rows[:50], "eval": rows[50:]}
    return examples_artifact(tmp_path_factory.mktemp("examples"), splits)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> standard_artifacts.Model:
    return index_node.model_artifact(tmp_path_factory.mktemp("model"))


def search(folder: Path, arguments: list[str]) -> bytes:
    """The file of the scored queries and their neighbours."""
    rows = make_rows(0, 60)
    kept = Kept(f"{folder}/queries.parquet", 5)
    with beam.Pipeline(argv=arguments) as pipeline:
        _ = (
            pipeline
            | beam.Create(only_candidate(in_batches(rows, [20, 40])))
            | ScoreQueries(KS, kept=kept, query_rows=7, shard_rows=9, folder=f"{folder}/embeddings")
        )
    return Path(kept.path).read_bytes()


def run_nodes(folder: Path, examples, model, settings: BeamSettings) -> tuple[dict, dict, bytes]:
    """What TripletGen and IndexGen write, by path, and the search."""
    arguments = settings.arguments
    triplets = triplet_node.make(
        folder / "triplets", examples, arguments, [model], strategy="semi_hard"
    )
    index = index_node.make(folder / "index", examples, model, beam_args=arguments)
    found = search(folder, arguments)
    return triplet_node.contents(triplets), index_node.contents(index), found


@pytest.fixture(scope="module")
def in_process(tmp_path_factory, examples, model) -> tuple[dict, dict, bytes]:
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
        checked = BeamSettings(**settings)
        checked.check_reachable()
        found = run_nodes(tmp_path, examples, model, checked)
    log = (tmp_path / ("prism.log" if server is prism_job_server else "job-server.log")).read_text()
    assert found == in_process, log
