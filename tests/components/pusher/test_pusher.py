"""Pusher through its real executor: versions, retries, full disks and object stores."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts

from components.pusher import Pusher, versioned_push as hand_over
from components.pusher.executor import Executor
from components.pusher.versioned_push import push as hand_over_push, version_path, versions
from pipeline.config import PROJECT, parse_config
from pipeline.definition import create_pipeline
from pipeline.runtime import ConfigError
from tests.components.pusher.push_server import push
from tests.components.pusher.pushed_models import contents, make_extras, make_model


@pytest.fixture
def clock(monkeypatch):
    """Stops the clock of the hand-over at a second."""
    now = [1_700_000_000.9]
    monkeypatch.setattr(hand_over.time, "time", lambda: now[0])
    return now


def test_a_version_is_the_model_and_the_artifact_says_where(tmp_path, clock) -> None:
    model = make_model(tmp_path / "model", "a")
    pushed = push("ours", str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    version = tmp_path / "serving" / "1700000000"
    assert contents(version) == contents(model / "Format-Serving")
    assert contents(tmp_path / "archive") == contents(model / "Format-Serving")
    assert pushed.get_int_custom_property("pushed") == 1
    assert pushed.get_string_custom_property("pushed_destination") == str(version)
    assert pushed.get_string_custom_property("pushed_version") == "1700000000"
    # Readable by whoever serves, as any folder made here.
    plain = tmp_path / "plain"
    plain.mkdir()
    assert version.stat().st_mode == plain.stat().st_mode


def test_a_real_model_is_served_as_it_was(tmp_path) -> None:
    module = tf.Module()
    module.weights = tf.Variable([[1.0, 2.0]])
    module.call = tf.function(
        lambda x: x @ module.weights, input_signature=[tf.TensorSpec([None, 1], tf.float32)]
    )
    tf.saved_model.save(module, str(tmp_path / "model"))
    extra = tmp_path / "operating_point.json"
    extra.write_text("{}")
    version = hand_over_push(
        str(tmp_path / "model"), str(tmp_path / "serving"), extras={extra.name: str(extra)}
    )
    served = tf.saved_model.load(str(tmp_path / "serving" / str(version)))
    assert served.call(tf.constant([[3.0]])).numpy().tolist() == [[3.0 * 1.0, 3.0 * 2.0]]


def test_a_model_that_is_not_blessed_stays(tmp_path) -> None:
    model, blessing, pushed = (
        standard_artifacts.Model(),
        standard_artifacts.ModelBlessing(),
        standard_artifacts.PushedModel(),
    )
    model.uri = str(make_model(tmp_path / "model", "a"))
    pushed.uri = str(tmp_path / "archive")
    blessing.set_int_custom_property("blessed", 0)
    inputs = {"model": [model], "model_blessing": [blessing]}
    Executor().Do(inputs, {"pushed_model": [pushed]}, dict(node(tmp_path).exec_properties))
    assert pushed.get_int_custom_property("pushed") == 0
    assert not (tmp_path / "serving").exists()


def node(folder: Path, keep: int = 0, **destination) -> Pusher:
    destination = destination or {"base_directory": str(folder / "serving")}
    return Pusher(
        model=channel.Channel(standard_artifacts.Model),
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(**destination)
        ),
        keep_versions=keep,
    )


def test_the_node_is_named_as_the_one_of_tfx() -> None:
    assert node(Path("/serving")).id == "Pusher"
    with pytest.raises(ValueError, match="keep_versions must be at least 0"):
        node(Path("/serving"), keep=-1)


def test_versions_rise_within_a_second_and_when_the_clock_goes_back(tmp_path, clock) -> None:
    serving = str(tmp_path / "serving")
    models = [make_model(tmp_path / fill, fill) / "Format-Serving" for fill in "abc"]
    first = hand_over_push(str(models[0]), serving)
    second = hand_over_push(str(models[1]), serving)
    clock[0] -= 3600
    third = hand_over_push(str(models[2]), serving)
    assert [first, second, third] == [1_700_000_000 + n for n in range(3)]
    assert versions(serving) == [first, second, third]
    clock[0] += 7200
    assert hand_over_push(str(models[0]), serving) == 1_700_000_000 + 3600


def test_a_push_that_is_tried_again_makes_no_second_version(tmp_path) -> None:
    serving = tmp_path / "serving"
    first, second = (make_model(tmp_path / fill, fill) for fill in "ab")
    once = push("ours", str(first), str(serving), str(tmp_path / "archive"))
    again = push("ours", str(first), str(serving), str(tmp_path / "archive"))
    assert len(versions(str(serving))) == 1
    for name in ("pushed_destination", "pushed_version"):
        assert once.get_string_custom_property(name) == again.get_string_custom_property(name)
    # The same size is not the same model, and an earlier model is pushed again when it is not
    # the newest.
    push("ours", str(second), str(serving), str(tmp_path / "archive 2"))
    push("ours", str(first), str(serving), str(tmp_path / "archive 3"))
    assert len(versions(str(serving))) == 3


def test_the_newest_versions_stay(tmp_path, clock) -> None:
    serving = tmp_path / "serving"
    (serving / "notes").mkdir(parents=True)
    (serving / "17").write_text("a file is no version")
    kept = []
    for number, fill in enumerate("abcdef"):
        model = make_model(tmp_path / fill, fill)
        push("ours", str(model), str(serving), str(tmp_path / f"archive {fill}"), keep=3)
        kept = [*kept, 1_700_000_000 + number][-3:]
        assert versions(str(serving)) == kept
    known = {"notes", "17", hand_over.LOCK}
    assert {path.name for path in serving.iterdir()} == known | set(map(str, kept))
    push("ours", str(model), str(serving), str(tmp_path / "archive f"), keep=1)
    assert versions(str(serving)) == kept[-1:]


def test_versions_are_the_numbers_that_a_server_reads(tmp_path, clock) -> None:
    serving, model = tmp_path / "serving", make_model(tmp_path / "model", "a") / "Format-Serving"
    for name in ("007", "00000000000000000000000000000012", "9" * 20, "x1", "1.5"):
        (serving / name).mkdir(parents=True)
    assert versions(str(serving)) == [7, 12]
    assert version_path(str(serving), 7) == f"{serving}/007"
    # Those with zeros age like others, and what no server reads is not ours.
    version = hand_over_push(str(model), str(serving), keep_versions=2)
    assert versions(str(serving)) == [12, version]
    assert hand_over_push(str(model), str(serving), keep_versions=1) == version
    assert sorted(path.name for path in serving.iterdir() if path.is_dir()) == [
        "1.5", str(version), "9" * 20, "x1",
    ]  # fmt: skip
    largest = serving / str(2**63 - 1)
    largest.mkdir()
    with pytest.raises(OSError, match="the largest version that there can be"):
        hand_over_push(str(model), str(serving))
    assert sorted(largest.parent.glob(".*")) == [serving / ".lock"]


def test_an_old_version_that_cannot_go_does_not_undo_the_push(tmp_path, monkeypatch) -> None:
    serving = tmp_path / "serving"
    first, second = (make_model(tmp_path / fill, fill) / "Format-Serving" for fill in "ab")
    hand_over_push(str(first), str(serving))
    rename = os.rename

    def refuse(source, target) -> None:
        if hand_over.OUTGOING in target:
            raise PermissionError(target)
        rename(source, target)

    monkeypatch.setattr(hand_over.os, "rename", refuse)
    version = hand_over_push(str(second), str(serving), keep_versions=1)
    assert versions(str(serving))[-1] == version
    assert len(versions(str(serving))) == 2
    monkeypatch.undo()
    hand_over_push(str(second), str(serving), keep_versions=1)
    assert versions(str(serving)) == [version]


def test_a_full_disk_shows_no_version(tmp_path, monkeypatch) -> None:
    model = make_model(tmp_path / "model", "a", megabytes=2)

    def full(handle) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hand_over.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        hand_over_push(str(model / "Format-Serving"), str(tmp_path / "serving"))
    assert versions(str(tmp_path / "serving")) == []
    monkeypatch.undo()
    version = hand_over_push(str(model / "Format-Serving"), str(tmp_path / "serving"))
    left = {path.name for path in (tmp_path / "serving").iterdir()}
    assert left == {str(version), hand_over.LOCK}


def test_everything_is_forced_to_the_disk_before_it_appears(tmp_path, monkeypatch) -> None:
    """The order of system calls, as the kernel gets them."""
    model = make_model(tmp_path / "model", "a", megabytes=2) / "Format-Serving"
    serving = tmp_path / "serving"
    calls: list[str] = []
    fsync, rename = os.fsync, os.rename

    def spy_fsync(handle) -> None:
        calls.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        fsync(handle)

    def spy_rename(source, target) -> None:
        calls.append(f"rename {source}")
        rename(source, target)

    monkeypatch.setattr(hand_over.os, "fsync", spy_fsync)
    monkeypatch.setattr(hand_over.os, "rename", spy_rename)
    extras = make_extras(tmp_path, "1")
    hand_over_push(str(model), str(serving), extras=extras)
    incoming = next(call for call in calls if call.startswith("rename ")).split()[1]
    names = {str(path.relative_to(model)) for path in model.rglob("*")}
    names |= {*extras, "index/rows", "checksums.json"}
    everything = {incoming} | {f"{incoming}/{name}" for name in names}
    position = calls.index(f"rename {incoming}")
    assert set(calls[:position]) == everything
    assert calls[position + 1 :] == [str(serving)]


def test_another_destination_is_refused(tmp_path) -> None:
    artifact = standard_artifacts.Model()
    artifact.uri = str(make_model(tmp_path / "model", "a"))
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / "archive")
    with pytest.raises(NotImplementedError, match="hands over to a file system"):
        Executor().Do({"model": [artifact]}, {"pushed_model": [pushed]},
                      {"push_destination": "{}", "custom_config": "null"})  # fmt: skip


def test_an_object_store_gets_the_file_that_makes_it_a_model_last(tmp_path, monkeypatch) -> None:
    """A URI goes the way of object stores, through TensorFlow's file layer."""
    base = f"file://{tmp_path}/serving"
    models = [make_model(tmp_path / fill, fill) / "Format-Serving" for fill in "abc"]
    first = hand_over_push(str(models[0]), base)
    assert hand_over_push(str(models[0]), base) == first

    def killed(source, target, *args) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(hand_over.io_utils, "copy_file", killed)
        with pytest.raises(KeyboardInterrupt):
            hand_over_push(str(models[1]), base)
    half = versions(base)[-1]
    assert half > first
    assert not tf.io.gfile.exists(f"{base}/{half}/saved_model.pb")
    assert tf.io.gfile.exists(f"{base}/{half}/variables/variables.data-00000-of-00099")
    last = hand_over_push(str(models[2]), base)
    assert versions(base) == [first, half, last]  # the half one may be a push that goes on
    now = time.time()
    monkeypatch.setattr(hand_over.time, "time", lambda: now + 25 * 3600)
    assert hand_over_push(str(models[2]), base, keep_versions=1) == last
    assert versions(base) == [last]
    with tf.io.gfile.GFile(f"{base}/{last}/saved_model.pb") as file:
        assert file.read() == "c" * 100


PUSH = """
import sys
from components.pusher.versioned_push import push
print("imported", flush=True)
push(*sys.argv[1:3])
"""


def test_two_pushes_at_once_make_two_whole_versions(tmp_path) -> None:
    models = [make_model(tmp_path / fill, fill, megabytes=20) for fill in "ab"]
    serving = tmp_path / "serving"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PUSH, str(model / "Format-Serving"), str(serving)], cwd=PROJECT
        )
        for model in models
    ]
    assert [process.wait() for process in processes] == [0, 0]
    found = [contents(path) for path in serving.iterdir() if path.is_dir()]
    expected = [contents(model / "Format-Serving") for model in models]
    assert len(found) == 2
    assert all(model in found for model in expected)


def test_a_push_waits_for_another_one(tmp_path) -> None:
    model = make_model(tmp_path / "a", "a") / "Format-Serving"
    serving = tmp_path / "serving"
    serving.mkdir()
    unfinished = serving / f"{hand_over.INCOMING}x"
    with hand_over._alone(str(serving)):
        unfinished.mkdir()
        process = subprocess.Popen(
            [sys.executable, "-c", PUSH, str(model), str(serving)],
            cwd=PROJECT, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdout.readline() == "imported\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=3)
        assert unfinished.exists()
    process.communicate()
    assert process.returncode == 0
    assert not unfinished.exists()  # nobody works on it any more


def test_the_configuration_says_how_many_versions_stay(tmp_path) -> None:
    values = {"pipeline": {"name": "digits", "directory": str(tmp_path)}, "data": {"path": "x"}}
    values["pipeline"]["keep_versions"] = 3
    nodes = {one.id: one for one in create_pipeline(parse_config(values, "test")).components}
    assert json.loads(nodes["Pusher"].exec_properties["custom_config"])["keep_versions"] == 3
    values["pipeline"]["keep_versions"] = -1
    with pytest.raises(ConfigError, match=r"pipeline\.keep_versions.*found -1"):
        parse_config(values, "test")
