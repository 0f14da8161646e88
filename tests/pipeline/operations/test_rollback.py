"""Rollback and gc after real runs: what is served, what the metadata say, what the next runs do."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import ml_metadata as mlmd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from ml_metadata.proto import metadata_store_pb2 as proto

from components import pusher
from components.evaluator.revocation import revocation
from components.metadata import Models
from components.pusher.versioned_push import same_files
from modules.compatibility import read_compatibility
from modules.gate import OperatingPoint, read_operating_point
from pipeline.__main__ import main
from pipeline.config import load_config
from pipeline.config.paths import PROJECT
from pipeline.metadata import latest_run, open_store, read_runs
from pipeline.metadata.connection import local_connection
from pipeline.operations import rollback, settle_local
from pipeline.operations.history import show_history
from pipeline.operations.rollback import roll_back
from pipeline.operations.summary import show_latest
from pipeline.runtime import ConfigError, LockedError, NotRunError
from pipeline.runtime.lock import hold_lock
from tests.pipeline.local_runs import LocalPipeline, not_cached, output
from tests.pipeline.pushed_models import PushedModels, lineage, model_files, served_files, serves

RESOLVERS = {"AuditModelResolver", "BaselineResolver", "PreviousIndexResolver"}
DAY = 24 * 3600


@pytest.fixture(scope="module")
def pushed_models(tmp_path_factory) -> PushedModels:
    return PushedModels(tmp_path_factory.mktemp("pushed"))


@pytest.mark.slow
def test_back_to_the_older_model_and_it_stays(pushed_models) -> None:
    pipeline = pushed_models.after(1)
    before, run, _ = pushed_models.runs
    first = output(before, "Trainer", "model")
    (oldest,) = pipeline.served()
    with pytest.raises(ConfigError, match="no earlier blessed model"):
        roll_back(pipeline.config)

    pipeline = pushed_models.after(2)
    second = output(run, "Trainer", "model")
    assert output(run, "BaselineResolver", "model")["uri"] == first["uri"]
    assert serves(pipeline, second["uri"])
    (_, bad) = pipeline.served()

    # The lock: not while a run works.
    with hold_lock(pipeline.config, "run"), pytest.raises(LockedError):
        # A second process; flock of the same one in a new open file is rejected as well.
        roll_back(pipeline.config)

    done = CliRunner().invoke(main, ["rollback", "--config", str(pipeline.path)])
    assert done.exit_code == 0, done.output
    version = pipeline.served()[-1]
    assert version > bad
    assert f"Version {version} in {pipeline.serving} is the model of {first['uri']}." in done.output
    assert serves(pipeline, first["uri"])
    store = mlmd.MetadataStore(local_connection(pipeline.config, readonly=True))
    assert lineage(store, version) == ("Rollback", [first["uri"]], [served_files(pipeline)])
    assert latest_run(pipeline.config).run_id == run.run_id
    summary = read_runs(pipeline.config)[-1]
    assert (summary.version, summary.blessed) == (str(bad), False)
    assert f"rolled back from version {bad}" in summary.reason

    # The next run: what reads the blessing works, since it is another, and does not push.
    again = pipeline.run()
    assert not_cached(again) == RESOLVERS | {"ReportGen", "IndexGen", "Pusher"}
    assert output(again, "Pusher", "pushed_model")["pushed"] == 0
    assert output(again, "BaselineResolver", "model")["uri"] == first["uri"]
    assert pipeline.served()[-1] == version
    assert read_runs(pipeline.config)[-1].state == "nothing new"
    assert not_cached(pipeline.run()) == RESOLVERS

    # Judged again by another gate, the same model is rejected for the same reason.
    pushed_models.configure(40, lower=0.1)
    judged = pipeline.run()
    assert not_cached(judged) == RESOLVERS | {"Evaluator", "ReportGen", "IndexGen", "Pusher"}
    assert output(judged, "Evaluator", "blessing")["blessed"] == 0
    assert "rolled back" in output(judged, "Evaluator", "blessing")["reason"]
    assert pipeline.served()[-1] == version

    # A new model compares with the older one, and may be pushed.
    pushed_models.configure(80)
    better = pipeline.run()
    assert output(better, "BaselineResolver", "model")["uri"] == first["uri"]
    assert pipeline.served()[-1] > version
    third = pipeline.served()[-1]

    # Back by version, and forth again: the blessing comes back with the model.
    again = roll_back(pipeline.config, to=oldest)
    assert serves(pipeline, first["uri"])
    assert roll_back(pipeline.config, to=oldest).done_before
    assert pipeline.served()[-1] == again.version
    forth = roll_back(pipeline.config, to=third)
    assert forth.revoked == []
    assert serves(pipeline, output(better, "Trainer", "model")["uri"])
    assert revocation(forth.model.uri) is None
    models = Models(open_store(pipeline.config, readonly=True), "small")
    assert models.blessed()[-1] == forth.model.id
    (blessing,) = [
        one for one in models.blessings_of(forth.model.id)
        if one.custom_properties["blessed"].int_value
    ]  # fmt: skip
    assert blessing.custom_properties["reason"].string_value == "every threshold is met"
    assert "revoked" not in blessing.custom_properties
    pipeline.run()
    assert pipeline.served()[-1] == forth.version

    with pytest.raises(ConfigError, match=rf"No version 17 was pushed.*{oldest}"):
        roll_back(pipeline.config, to=17)


@pytest.mark.slow
def test_killed_at_any_step_the_next_call_completes_it(
    pushed_models, tmp_path, monkeypatch, capsys
) -> None:
    """Operating point and comparison come back with their model."""
    pipeline = pushed_models.after(3)
    first, *_, third = (output(one, "Trainer", "model") for one in pushed_models.runs)
    _, second, last = pushed_models.runs
    (oldest, good, bad) = pipeline.served()
    points = {one: read_operating_point(str(pipeline.serving / str(one))) for one in (good, bad)}
    assert points[good] == second.evaluation.operating_point
    assert points[bad] == last.evaluation.operating_point != points[good]
    compared = last.evaluation.compatibility
    beside = {one: str(pipeline.serving / str(one) / "compatibility") for one in (good, bad)}
    assert read_compatibility(beside[bad]) == compared
    assert compared.baseline == read_compatibility(beside[good]).candidate
    assert compared.dimensions == [128, 128]
    # The Evaluator has compared it with what it had stored itself.
    assert last.evaluation.shift.stored == points[good].threshold
    show_latest(pipeline.config)
    text = capsys.readouterr().out
    assert f"a squared distance below {points[bad].threshold:.4f} [" in text
    assert f": {compared.why}.\n" in text
    assert "new queries, old vectors" in text
    assert "Churn: of 10 logged queries " in text
    show_latest(pipeline.config, as_json=True)
    shown = json.loads(capsys.readouterr().out)["evaluation"]["operating_point"]
    assert OperatingPoint.model_validate_json(json.dumps(shown)) == points[bad]
    show_history(pipeline.config, as_json=True)
    runs = json.loads(capsys.readouterr().out)
    assert [run["verdict"] for run in runs] == [
        None, second.evaluation.compatibility.verdict, compared.verdict
    ]  # fmt: skip
    assert runs[-1]["changed_results"] == pytest.approx(last.evaluation.churn.changed)
    kept = runs[-1]["metrics"]["candidate"]["operating_threshold"]
    assert kept == pytest.approx(points[bad].threshold, rel=1e-5)  # the database rounds

    class Killed(BaseException):
        """Nothing catches it, as nothing catches SIGKILL."""

    def killed(*args, **kwargs):
        raise Killed

    # Before the push, after it, and before the metadata tell of it.
    with monkeypatch.context() as patch:
        patch.setattr(pusher, "push", killed)
        with pytest.raises(Killed):
            roll_back(pipeline.config)
    assert pipeline.served()[-1] == bad
    with monkeypatch.context() as patch:
        patch.setattr(rollback, "make_latest", killed)
        with pytest.raises(Killed):
            roll_back(pipeline.config)
    pushed = pipeline.served()[-1]
    assert pushed > bad
    with monkeypatch.context() as patch:
        patch.setattr(rollback, "end_rollback", killed)
        with pytest.raises(Killed):
            roll_back(pipeline.config)
    assert revocation(third["uri"])
    done = roll_back(pipeline.config)
    # Not one model further back, and not one version more.
    assert done.version == pushed == pipeline.served()[-1]
    assert done.missing == []
    assert read_operating_point(served_files(pipeline)) == points[good]
    brought_back = read_compatibility(f"{served_files(pipeline)}/compatibility")
    assert brought_back == second.evaluation.compatibility
    # The model and its point, and nothing else, as a TensorFlow server reads it.
    assert not same_files(model_files(done.model.uri), served_files(pipeline))
    assert "serving_default" in tf.saved_model.load(served_files(pipeline)).signatures
    assert first["uri"] != done.model.uri != third["uri"]
    store = open_store(pipeline.config, readonly=True)
    assert lineage(store, pushed)[0] == "Rollback"
    states = [e.last_known_state for e in store.get_executions_by_type("Rollback")]
    assert states == [proto.Execution.COMPLETE]
    # The next rollback is a new one.
    assert roll_back(pipeline.config).model.uri == first["uri"]

    def states() -> list[int]:
        store = open_store(pipeline.config, readonly=True)
        return [e.last_known_state for e in store.get_executions_by_type("Rollback")]

    # One that was killed before its push is closed by what a run begins with, and by one with
    # `--to`; no later call takes it up.
    served = pipeline.served()[-1]
    for close in (
        lambda: settle_local(pipeline.config),
        lambda: roll_back(pipeline.config, to=served),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pusher, "push", killed)
            with pytest.raises(Killed):
                roll_back(pipeline.config, to=bad)
        assert states()[-1] == proto.Execution.RUNNING
        close()
        assert states()[-1] == proto.Execution.CANCELED
        assert pipeline.served()[-1] == served
    # One that had pushed is completed: what is served is what the metadata say.
    with monkeypatch.context() as patch:
        patch.setattr(rollback, "make_latest", killed)
        with pytest.raises(Killed):
            roll_back(pipeline.config, to=bad)
    settle_local(pipeline.config)
    assert states()[-1] == proto.Execution.COMPLETE
    assert lineage(open_store(pipeline.config, readonly=True), pipeline.served()[-1])[1] == [
        third["uri"]
    ]
    assert proto.Execution.RUNNING not in states()
    # A model that the disk has damaged is refused, and nothing changes.
    data = next(Path(model_files(first["uri"]), "variables").glob("*.data-*"))
    whole, served = data.read_bytes(), pipeline.served()[-1]
    data.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ConfigError, match=r"is not what was pushed: variables/.* has changed"):
        roll_back(pipeline.config, to=oldest)
    assert pipeline.served()[-1] == served
    assert states()[-1] == proto.Execution.FAILED
    data.write_bytes(whole)
    assert roll_back(pipeline.config, to=oldest).model.uri == first["uri"]

    # A model whose files are gone.
    Path(model_files(third["uri"])).rename(tmp_path / "gone")
    with pytest.raises(ConfigError, match=r"were removed.*--to: \d+"):
        roll_back(pipeline.config, to=bad)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.rglob("*")}


def gc(pipeline: LocalPipeline, *arguments: str):
    done = CliRunner().invoke(main, ["gc", "--config", str(pipeline.path), *arguments])
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.mark.slow
def test_after_gc_the_next_run_is_cached_and_a_rollback_works(pushed_models) -> None:
    pipeline = pushed_models.after(3)
    models = [output(run, "Trainer", "model")["uri"] for run in pushed_models.runs]
    (oldest, good, _) = pipeline.served()
    shutil.rmtree(pipeline.serving / str(oldest))
    artifacts = Path(pipeline.config.pipeline.root)
    killed = artifacts / "Trainer" / "model" / "999"
    shutil.copytree(models[0], killed)
    old = time.time() - 2 * DAY
    for path in [*killed.rglob("*"), killed]:
        os.utime(path, (old, old))

    before = tree(pipeline.path.parent)
    planned = gc(pipeline, "--keep", "1")
    assert planned.exit_code == 0
    assert "Would be removed" in planned.output
    assert "Nothing was changed" in planned.output
    assert tree(pipeline.path.parent) == before

    with hold_lock(pipeline.config, "run"), pytest.raises(LockedError):
        gc(pipeline, "--delete")
    with hold_lock(pipeline.config, "run"):
        assert gc(pipeline, "--keep", "1").exit_code == 0  # looking is allowed
    assert {p for p in map(Path, models) if p.exists()} == set(map(Path, models))

    done = gc(pipeline, "--keep", "1", "--delete")
    assert "Removed" in done.output
    # The second is served, and a rollback from there would push what was blessed before it.
    assert all(Path(uri).exists() for uri in models)
    assert not killed.exists()
    size_before = sum(size for size, _ in before.values())
    assert sum(size for size, _ in tree(pipeline.path.parent).values()) < size_before
    assert gc(pipeline, "--keep", "1", "--delete").output.endswith("Nothing to remove.\n")
    shutil.rmtree(pipeline.serving / str(good))
    assert "Removed" in gc(pipeline, "--keep", "1", "--delete").output
    # The second is the baseline of the third.
    assert [Path(uri).exists() for uri in models] == [False, True, True]

    again = pipeline.run()
    assert not_cached(again) == RESOLVERS
    back = roll_back(pipeline.config)
    assert back.model.uri == models[1]
    gc(pipeline, "--keep", "1", "--delete")
    after = pipeline.run()
    assert not_cached(after) == RESOLVERS | {"ReportGen", "IndexGen", "Pusher"}
    assert output(after, "BaselineResolver", "model")["uri"] == models[1]
    assert pipeline.served()[-1] == back.version
    gc(pipeline, "--keep", "1", "--delete")
    assert not_cached(pipeline.run()) == RESOLVERS
    # The history is whole.
    shown = CliRunner().invoke(main, ["history", "--config", str(pipeline.path)])
    assert shown.exit_code == 0, shown.output


def test_nothing_to_roll_back(tmp_path) -> None:
    path = tmp_path / "none.toml"
    path.write_text(f'[pipeline]\nname = "none"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    with pytest.raises(NotRunError, match="has not run yet"):
        roll_back(load_config(str(path)))
    done = subprocess.run(
        [sys.executable, "-m", "pipeline", "rollback", "--config", str(path)],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.startswith("error: Pipeline 'none' has not run yet")
