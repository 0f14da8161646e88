"""Folders that the group can write to, whoever made them."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
import tensorflow as tf

from kubeflow.group_access import open_to_group


def lacking(folder: Path) -> set[Path]:
    """What the group may not write to though its user may."""
    return {path for path in folder.rglob("*") if not path.lstat().st_mode & stat.S_IWGRP}


@pytest.fixture
def volume(tmp_path) -> Path:
    tf.io.gfile.makedirs(str(tmp_path / "name/artifacts/Trainer/model/7/Format-Serving/variables"))
    tf.io.gfile.makedirs(str(tmp_path / "name/artifacts/Other"))
    file = tmp_path / "name/artifacts/Trainer/model/7/Format-Serving/variables/a"
    file.write_text("x")
    file.chmod(0o600)
    deep = tmp_path / "name/artifacts/Trainer/model_run/8/a/b/c/d"
    tf.io.gfile.makedirs(str(deep.parents[3]))
    deep.mkdir(parents=True)
    for folder in (deep, *deep.parents[:3]):
        folder.chmod(0o775)  # as Python makes them with the umask of a pod
    (deep / "private").touch(0o600)
    return tmp_path


def test_tensorflow_leaves_folders_to_their_user(volume) -> None:
    """Whatever the umask: else this module would not be needed."""
    assert volume / "name/artifacts/Trainer/model" in lacking(volume)


def test_a_node_its_executions_and_the_folders_above(volume) -> None:
    open_to_group(str(volume / "name/artifacts/Trainer"), str(volume))
    assert lacking(volume) == {volume / "name/artifacts/Other"}
    file = volume / "name/artifacts/Trainer/model/7/Format-Serving/variables/a"
    assert stat.S_IMODE(file.stat().st_mode) == 0o660
    assert not file.parent.stat().st_mode & stat.S_IWOTH


def test_executions_that_are_open_are_not_looked_into_again(volume) -> None:
    node = volume / "name/artifacts/Trainer"
    open_to_group(str(node), str(volume))
    tf.io.gfile.makedirs(str(node / "model/8/Format-Serving"))  # of a later execution
    old = node / "model/7/Format-Serving/late"
    tf.io.gfile.makedirs(str(old))
    open_to_group(str(node), str(volume))
    assert lacking(node) == {old}


def test_other_users_files_links_and_buckets_are_left_alone(volume, monkeypatch) -> None:
    target = volume / "name/artifacts/Other"
    node = volume / "name/artifacts/Trainer"
    (node / "link").symlink_to(target)
    open_to_group("gs://bucket/name/artifacts/Trainer", "gs://bucket")
    open_to_group(str(node / "nothing"), str(volume))
    open_to_group(str(node), str(volume))
    assert target in lacking(volume)
    monkeypatch.setattr("os.geteuid", lambda: 123456)
    open_to_group(str(target), str(volume))
    assert target in lacking(volume)
