"""Nodes on job servers of Apache Beam write the same bytes as in their own process.

Of the Evaluator its search, which shares files among the workers.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path

import apache_beam as beam
import psutil
import pytest
from tfx.types import standard_artifacts

from modules.retrieval import Kept, ScoreQueries
from pipeline.config import BeamSettings
from pipeline.job_server import JobServerError
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


@needs_prism
@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_writes(tmp_path: Path) -> None:
    """The node fails with the cause and leaves nothing; the next attempt gives what it should."""
    rows = examples_artifact(tmp_path / "examples", {"train": digits(500)}, shards=4)
    settings = {"bucket_size": 40, "triplets_per_anchor": 20}
    output = tmp_path / "out"

    def kill() -> None:
        while not list(output.glob("Split-train/*")):
            time.sleep(0.001)
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if any("SdkHarness" in word for word in process.cmdline()):
                    process.kill()

    with prism_job_server(tmp_path) as endpoint, worker_pool(tmp_path) as pool:
        beam = BeamSettings(runner="portable", endpoint=endpoint, worker_pool=pool).arguments
        threading.Thread(target=kill, daemon=True).start()
        with pytest.raises(JobServerError, match=r"A worker process of the job server .* ended"):
            triplet_node.make(output, rows, beam, **settings)
        assert not [path for path in output.rglob("*") if path.is_file()]
        found = triplet_node.contents(triplet_node.make(output, rows, beam, **settings))
    expected = triplet_node.make(tmp_path / "expected", rows, **settings)
    assert found == triplet_node.contents(expected)
