"""Errors as people see them: one sentence on stderr, and no traceback unless it is asked for."""

from __future__ import annotations

import contextlib
import gzip
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

from components.record_example_gen.reading import read_records
from modules.contract import make_example
from pipeline import local_runner
from pipeline.config import PROJECT, load_config, parse_config
from pipeline.runtime import (
    ConfigError,
    ExitCode,
    check_places,
    check_unlocked,
    hold_lock,
    in_short,
)
from tests.real_data import digits


def write_config(root: Path, data: str = "", *, pipeline: str = "", tables: str = "") -> Path:
    path = root / "mine.toml"
    path.write_text(
        f'[pipeline]\nname = "mine"\ndirectory = "{root}/work"\n{pipeline}\n'
        f'[data]\npath = "{root}/data"\n{data}\n{tables}\n'
    )
    return path


def put_data(root: Path) -> None:
    """Something where the images should be; no run of these tests gets to look at it."""
    (root / "data").mkdir()
    (root / "data" / "1.tfrecord").touch()


def call(
    *command: str, environment: dict[str, str] | None = None, limit: int | None = None
) -> subprocess.CompletedProcess[str]:
    def limits() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    return subprocess.run(
        [sys.executable, "-m", "pipeline", *command],
        cwd=PROJECT, capture_output=True, text=True, errors="replace",
        env={**os.environ, **(environment or {})}, preexec_fn=limits,
    )  # fmt: skip


def test_a_missing_folder_is_told_before_the_first_node_and_not_as_no_images(tmp_path) -> None:
    for command in ("run", "retrain"):
        done = call(command, "--config", str(write_config(tmp_path)))
        assert done.returncode == 2, done.stderr
        assert done.stderr.strip() == (
            f"error: There is no folder {tmp_path}/data ([data] path), so there are no images. "
            "Mount its disk, or correct the path."
        )
    assert not (tmp_path / "work" / "mine" / "metadata.sqlite").exists()


def test_an_empty_mount_point_is_not_told_as_bad_data(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    for command in ("run", "retrain"):
        done = call(command, "--config", str(write_config(tmp_path)))
        assert done.returncode == ExitCode.NO_DATA, done.stderr
        assert done.stderr.strip() == (
            f"error: The folder {tmp_path}/data ([data] path) is empty, as a place is where no "
            "disk is mounted. Mount its disk, or put the images there."
        )
    assert not (tmp_path / "work" / "mine" / "metadata.sqlite").exists()


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ('[model]\nweights = "no.h5"\n[image]\nheight = 16\nwidth = 16\nchannels = 1',
         r"no\.h5 \(\[model\] weights\) cannot be read: No such file"),
        ("", r"no\.pbtxt \(\[data\] schema_file\) cannot be read: No such file"),
        ('[index]\ngallery = "images"\npath = "no"', r"no folder .*/no \(\[index\] path\), so"),
    ],
)  # fmt: skip
def test_a_missing_file_that_a_node_would_read(tmp_path, tables, says) -> None:
    put_data(tmp_path)
    data = "" if tables else 'schema_file = "no.pbtxt"'
    with pytest.raises(ConfigError, match=says):
        check_places(load_config(str(write_config(tmp_path, data, tables=tables))))


def test_places_that_cannot_be_written_to(tmp_path) -> None:
    """A file where the folder should be: no user can make one there, not even root."""
    put_data(tmp_path)
    config = load_config(str(write_config(tmp_path)))
    (tmp_path / "work").write_text("")
    made = tmp_path / "work" / "mine"
    for fails in (lambda: check_places(config), lambda: hold_lock(config, "run").__enter__()):
        with pytest.raises(ConfigError, match=rf"{made}.* cannot be written to"):
            fails()
    check_unlocked(config)  # which a run asks first, and which leaves this to the others


def test_a_full_disk_is_one_sentence(tmp_path) -> None:
    """As good as full: the kernel refuses any file beyond its first bytes."""
    put_data(tmp_path)
    done = call("run", "--config", str(write_config(tmp_path)), limit=0)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    made = tmp_path / "work" / "mine"
    assert f"The folder {made} ([pipeline] directory) cannot be" in done.stderr
    assert "make room" in done.stderr


def test_a_traceback_is_there_when_it_is_asked_for(tmp_path) -> None:
    path = write_config(tmp_path)
    path.write_bytes(b"\xff")
    quiet, loud = (call("summary", "--config", str(path), *more) for more in ((), ("--verbose",)))
    assert quiet.returncode == loud.returncode == 2
    assert quiet.stderr.startswith(f"error: {path} is not valid TOML")
    assert "Traceback" not in quiet.stderr
    assert "UnicodeDecodeError" in loud.stderr
    assert loud.stderr.splitlines()[-1] == quiet.stderr.strip()


def test_a_terminal_of_few_characters_and_names_with_escapes(tmp_path) -> None:
    """Latin-1, as some machines have it: nothing breaks, and no name colours the terminal."""
    environment = {"PYTHONIOENCODING": "latin-1", "PYTHONUTF8": "0"}
    done = call("run", "--config", "\x1b[31m…✓", environment=environment)
    assert done.returncode == 2
    assert "\x1b" not in done.stderr
    assert "\\x1b[31m" in done.stderr


def test_errors_are_short_and_without_images() -> None:
    image = digits(1)[0][0]
    for text in (repr(image), image.hex(), str(make_example(image, b"7", b"id"))):
        found = in_short(f"before {text} after")
        assert len(found) < 400, found
        assert found.startswith("before")
        assert found.endswith("after")
    beam = (
        "Traceback (most recent call last):\n  File 'x', line 1, in f\n    g()\n"
        "ValueError: data.tfrecord is cut. Repair it. [while running 'Read']\n\n"
        "During handling of the above exception, another exception occurred:\n\n"
        "Traceback (most recent call last):\n  File 'y', line 2, in g\n"
        "ValueError: data.tfrecord is cut. Repair it. [while running 'Read']\n"
    )
    assert in_short(beam) == "data.tfrecord is cut. Repair it."


def test_a_compressed_file_that_was_cut_anywhere_is_told(tmp_path) -> None:
    """Also between two records, where TensorFlow's reader takes it for a whole one."""
    whole, path = tmp_path / "whole", tmp_path / "cut.tfrecord"
    options = tf.io.TFRecordOptions("GZIP", flush_mode=2)  # Z_SYNC_FLUSH: records end on bytes
    with tf.io.TFRecordWriter(str(whole), options) as writer:
        ends = []
        for row in digits(2):
            writer.write(make_example(*row).SerializeToString())
            writer.flush()
            ends.append(whole.stat().st_size)
    assert len(list(read_records(str(whole)))) == 20
    content, silent = whole.read_bytes(), 0
    for end in [*ends[:-1], len(content) - 4, len(content) - 1, len(content) // 2]:
        path.write_bytes(content[:end])
        with contextlib.suppress(tf.errors.OpError):
            silent += len(list(tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())) < 20
        with pytest.raises(ValueError, match=rf"{path} cannot be read as a TFRecord file"):
            list(read_records(str(path)))
    assert silent > 5  # else this would prove nothing
    # Two files put together are one good file to gzip.
    path.write_bytes(content + content)
    assert len(list(read_records(str(path)))) == 40
    # And one without any record, compressed.
    path.write_bytes(gzip.compress(b""))
    assert list(read_records(str(path))) == []


def test_the_runner_of_another_checkout_does_not_start(tmp_path, monkeypatch) -> None:
    """As `tfx run create` would start it, which knows pipelines by their names only."""
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "pipeline" / "local_runner.py").touch()
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    with pytest.raises(ConfigError, match=rf"started in {tmp_path}: .*LOCAL_HOME"):
        local_runner.check_checkout()
    monkeypatch.chdir(PROJECT / "tests")
    local_runner.check_checkout()


@pytest.mark.parametrize(
    ("tables", "says"),
    [
        ({"training": {"distribution": "/GPU:99"}}, "no such device here, only /CPU:0"),
        ({"beam": {"runner": "portable", "endpoint": "localhost:1"}}, "cannot be reached"),
    ],
)
def test_what_the_machine_lacks(tmp_path, tables, says) -> None:
    put_data(tmp_path)
    base = {"pipeline": {"name": "mine", "directory": str(tmp_path)}, "data": {"path": "x"}}
    base["data"]["path"] = str(tmp_path / "data")
    for table, values in tables.items():
        base.setdefault(table, {}).update(values)
    with pytest.raises(ConfigError, match=says):
        local_runner.run_pipeline(parse_config(base, "mine.toml"))
    assert not (tmp_path / "mine" / "metadata.sqlite").exists()
