"""Garbage collection: what a later run needs is never removed, and what nothing needs is."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings, strategies as st
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.__main__ import main
from pipeline.operations import gc_files
from pipeline.operations.gc import carry_out, make_plan
from pipeline.runtime import ConfigError, NotRunError
from tests.pipeline.simulated_runs import Event, Simulation

DAY = 24 * 3600

events = st.lists(
    st.builds(
        Event,
        new_data=st.sampled_from([True, True, False]),
        valid=st.sampled_from([True, True, True, False]),
        blessed=st.booleans(),
        breaks_at=st.sampled_from(
            [None, None, None, None, "ExampleGen", "Trainer", "Evaluator", "IndexGen", "Pusher"]
        ),
        retunes=st.sampled_from([False, False, False, True]),
        resplits=st.sampled_from([False, False, False, True]),
        rewrites=st.sampled_from([False, False, False, True]),
        takes_back=st.booleans(),
        fits=st.booleans(),
        rolls_back=st.sampled_from([False, False, False, True]),
        collects=st.sampled_from([0, 1, 1, 2, 3]),
    ),
    min_size=3,
    max_size=9,
)


def live_files(simulation: Simulation) -> set[Path]:
    return {
        Path(artifact.uri)
        for artifact in simulation.store.get_artifacts()
        if artifact.state == proto.Artifact.LIVE and artifact.uri.startswith(str(simulation.root))
    }


def all_files(simulation: Simulation) -> set[Path]:
    return set(gc_files.output_folders(simulation.root))


@settings(
    max_examples=60, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip
@given(
    events=events,
    window=st.integers(1, 3),
    fixed=st.sampled_from([None, None, 1, 2]),
    warm=st.booleans(),
    rounds=st.integers(0, 2),
    decides=st.booleans(),
)
# After a rollback the model of run 2 is judged again, by a span that is in no window any more.
@example(
    events=[
        Event(), Event(fits=False), Event(fits=False, blessed=False), Event(), Event(collects=1),
        Event(rolls_back=True),
    ],
    window=1, fixed=None, warm=False, rounds=0, decides=True,
)  # fmt: skip
@pytest.mark.slow
def test_no_run_can_tell_whether_something_was_collected(
    events, window, fixed, warm, rounds, decides
) -> None:
    """Two pipelines live through the same, one with gc: every node and every resolver agree.

    Settings and data are never what they once were: to go back to a setting of before the last runs
    may cost the work again.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, collected = (
            Simulation(
                Path(folder) / name,
                window=window,
                fixed=fixed,
                warm=warm,
                rounds=rounds,
                decides=decides,
            )
            for name in ("plain", "collected")
        )
        rolled_back = False  # a second time before gc has seen the first may go too far back
        for event in events:
            if event.rolls_back and rolled_back:
                event = dataclasses.replace(event, rolls_back=False)
            rolled_back = (rolled_back or event.rolls_back) and not event.collects
            plain.happens(event)
            collected.happens(event)
            assert collected.trace == plain.trace
            if event.collects:
                before = dict(collected.__dict__)
                collected.collect(event.collects)
                assert collected.__dict__ == before
                assert live_files(collected) == all_files(collected)
        # A run after the last collection: the same again, with nothing new.
        last = Event(new_data=False)
        collected.collect(1)
        for _ in range(2):
            plain.happens(last)
            collected.happens(last)
            assert collected.trace == plain.trace


def simulated_year(tmp_path: Path) -> Simulation:
    simulation = Simulation(tmp_path, window=2, fixed=1, warm=True, rounds=0)
    for month in range(12):
        simulation.happens(Event(valid=month not in (4, 5), blessed=month not in (8, 9)))
    return simulation


def test_a_year_shrinks_to_what_is_needed(tmp_path) -> None:
    simulation = simulated_year(tmp_path)
    before = all_files(simulation)
    plan = make_plan(simulation.store, simulation.config, 1)
    assert all_files(simulation) == before == live_files(simulation)
    assert set(plan.removed) == {p for p in before if p not in plan.kept}
    carry_out(simulation.store, plan)
    left: dict[str, int] = {}
    for path in all_files(simulation):
        left[f"{path.parent.parent.name}/{path.parent.name}"] = (
            left.get(f"{path.parent.parent.name}/{path.parent.name}", 0) + 1
        )
    # Months 1 to 12, without 5 and 6. The spans 10, 11 and 12 are the window and one more, and 1 is
    # for the evaluation.
    assert left["ExampleGen/examples"] == 3 + 1
    assert left["TripletGen/triplets"] == 1
    # Pushed in 8, 11 and 12 with two versions kept; 12 started from 11, and 11 from 8.
    assert left["Trainer/model"] == 3
    assert left["Trainer/model_run"] == 1
    # The two that are served, and that of 8, which a rollback from 11 would push; also the cards.
    assert left["IndexGen/index"] == left["ReportGen/report"] == 3
    assert simulation.collect(1).removed == {}
    # More runs kept, fewer folders removed.
    other = simulated_year(tmp_path / "other")
    sizes = [len(make_plan(other.store, other.config, keep).removed) for keep in (1, 3, 6, 12)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 0


def test_what_was_pushed_beside_a_served_model_stays(tmp_path) -> None:
    simulation = simulated_year(tmp_path)
    beside = make_plan(simulation.store, simulation.config, 1).artifacts[0]
    pushed = max(
        (one for one in simulation.store.get_artifacts_by_type("PushedModel")
         if one.custom_properties["pushed"].int_value),
        key=lambda one: one.id,
    )  # fmt: skip
    extras = json.dumps({"index": beside.uri})
    pushed.custom_properties["pushed_extras"].string_value = extras
    simulation.store.put_artifacts([pushed])
    plan = make_plan(simulation.store, simulation.config, 1)
    assert beside.id not in {artifact.id for artifact in plan.artifacts}
    assert plan.kept[Path(beside.uri)][1] == "models in the serving folder"


def test_the_latest_index_stays_though_it_was_never_pushed(tmp_path) -> None:
    """Its push failed, and the model after it was rejected."""
    plain, collected = (
        Simulation(tmp_path / name, window=1, fixed=None, warm=False, rounds=0)
        for name in ("plain", "collected")
    )
    events = [Event(), Event(breaks_at="Pusher"), Event(blessed=False)]
    for simulation in (plain, collected):
        for event in events:
            simulation.happens(event)
    collected.collect(1)
    for simulation in (plain, collected):
        simulation.happens(Event())
    assert collected.trace == plain.trace


def make_old(path: Path, *, days: float) -> None:
    when = time.time() - days * DAY
    for found in [*path.rglob("*"), path]:
        os.utime(found, (when, when))


def test_leftovers_of_killed_runs(tmp_path) -> None:
    simulation = simulated_year(tmp_path)
    simulation.collect(1)
    root = simulation.root

    def folder(name: str, *, days: float) -> Path:
        path = root / name
        path.mkdir(parents=True)
        (path / "file").write_text("x" * 7)
        make_old(path, days=days)
        return path

    old = {
        folder("Trainer/model/990", days=2),
        folder("Trainer/model_run/checkpoints/abc", days=2),
        folder("Trainer/.system/executor_execution/990", days=2),
        folder("Gone/output/991", days=9),
    }
    stay = {
        folder("Trainer/model/992", days=0.5),
        folder("Trainer/model_run/checkpoints/def", days=0.5),
        folder("Trainer/.system/executor_execution/992", days=0.5),
        folder("Trainer/model/notes", days=9),  # no name that TFX gives
        folder("notes", days=9),
    }
    # One file written lately keeps the whole folder.
    young = folder("Trainer/model/993", days=9)
    (young / "late").write_text("x")
    stay.add(young)
    (root / "Trainer" / "model" / "994").symlink_to(tmp_path)
    for path in all_files(simulation) - old - stay:
        make_old(path, days=30)  # age alone is no reason

    plan = simulation.collect(1)
    assert set(plan.removed) == old
    assert set(plan.removed.values()) == {7}
    assert plan.artifacts == []
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in stay)
    assert (root / "Trainer" / "model" / "994").is_symlink()


def test_killed_between_the_mark_and_the_removal(tmp_path, monkeypatch) -> None:
    simulation = simulated_year(tmp_path)
    rmtree, calls = shutil.rmtree, []

    def killed(path) -> None:
        # The database knew before the first file went.
        states = {a.uri: a.state for a in simulation.store.get_artifacts()}
        assert states[str(path)] == proto.Artifact.DELETED
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(path)
        rmtree(path)

    with monkeypatch.context() as patch:
        patch.setattr("pipeline.operations.gc.shutil.rmtree", killed)
        with pytest.raises(KeyboardInterrupt):
            simulation.collect(1)
    assert len(all_files(simulation) - live_files(simulation)) > 3
    before = len(simulation.trace)
    simulation.happens(Event(new_data=False))
    assert [entry for entry in simulation.trace[before:] if entry[1] == "run"] == []
    simulation.collect(1)
    assert all_files(simulation) == live_files(simulation)


def test_artifacts_elsewhere_stay(tmp_path) -> None:
    simulation = simulated_year(tmp_path)
    (oldest,) = simulation.store.get_artifacts_by_id(
        [min(a.id for a in simulation.store.get_artifacts_by_type("Examples") if a.id)]
    )
    for number, uri in enumerate(
        (str(tmp_path / "elsewhere"), f"{simulation.root}/Node/../../elsewhere/1",
         "gs://bucket/Node/key/1", str(simulation.root))
    ):  # fmt: skip
        other = proto.Artifact(type_id=oldest.type_id, uri=uri, state=proto.Artifact.LIVE)
        simulation.store.put_artifacts([other])
        assert gc_files.output_folder(simulation.root, uri) is None, number
    (tmp_path / "elsewhere" / "1").mkdir(parents=True)
    simulation.collect(1)
    assert (tmp_path / "elsewhere" / "1").exists()


def test_what_cannot_be_collected(tmp_path) -> None:
    path = tmp_path / "none.toml"
    path.write_text(f'[pipeline]\nname = "none"\ndirectory = "{tmp_path}"\n[data]\npath = "x"\n')
    rejected = CliRunner().invoke(main, ["gc", "--config", str(path), "--keep", "0"])
    assert rejected.exit_code == 2
    with pytest.raises(NotRunError, match="has not run yet"):
        CliRunner().invoke(main, ["gc", "--config", str(path)], catch_exceptions=False)
    simulation = Simulation(tmp_path / "sim", window=1, fixed=None, warm=False, rounds=0)
    remote = simulation.config.pipeline.model_copy(update={"directory": "gs://bucket"})
    config = simulation.config.model_copy(update={"pipeline": remote})
    with pytest.raises(ConfigError, match="works on local folders"):
        make_plan(simulation.store, config, 1)
