"""Searches on real digits, through the command: what is found, written, and never looked at."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import threading
import tomllib
from pathlib import Path

import pytest
import tensorflow as tf
from click.testing import CliRunner

from modules.contract import make_example
from pipeline.commands import main
from pipeline.commands.tune import trial_table
from pipeline.config import load_config
from pipeline.metadata import latest_run
from pipeline.operations.tuning import check_minutes, tune
from pipeline.operations.tuning_data import of_search, prepare
from pipeline.runtime import ConfigError, NodeFailedError, NotRunError, PipelineError
from tests.real_data import digits

CONFIG = """
[pipeline]
name = "digits"
directory = "{root}"
[data]
path = "{root}/data"
split = "hash"
[training]
steps = 40
margin = 0.3  # a value of one's own
"""


def write_config(root: Path, text: str = CONFIG) -> Path:
    path = root / "digits.toml"
    path.write_text(text.format(root=root))
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder with digits and a configuration, whose data nodes have run."""
    root = tmp_path_factory.mktemp("tuning")
    (root / "data").mkdir()
    with tf.io.TFRecordWriter(str(root / "data" / "all.tfrecord")) as writer:
        for row in digits(24):
            writer.write(make_example(*row).SerializeToString())
    prepare(load_config(str(write_config(root))))
    return root


@pytest.mark.slow
def test_a_search_writes_the_best_and_never_reads_the_eval_split(root, tmp_path):
    path = write_config(root)
    examples = latest_run(of_search(load_config(str(path)))).nodes[0].uris["examples"][0]
    poisoned = list(Path(examples).glob("Split-eval/*"))
    assert poisoned
    for file in poisoned:
        file.write_bytes(b"not a record")
    output = tmp_path / "better.toml"
    command = ["tune", "--config", str(path), "--minutes", "0.3", "--output", str(output), "--json"]
    done = CliRunner().invoke(main, command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    assert all(file.read_bytes() == b"not a record" for file in poisoned)

    found = json.loads(done.stdout)
    first, *others = found["trials"]
    assert others
    assert len(re.findall(r"^trial +\d", done.stderr, re.MULTILINE)) >= len(found["trials"])
    scores = [(one["round"], one["map@r"]) for one in found["trials"] if one["error"] is None]
    assert scores == sorted(scores, reverse=True)
    assert any(one["changed"] == {} for one in found["trials"])  # the configuration as it is
    assert all(0 <= one["map@r"] <= 1 and 0 <= one["precision@1"] <= 1 for one in found["trials"])
    assert (found["output"], found["interrupted"], found["seed"]) == (str(output), False, 0)

    tuned, given = load_config(str(output)), load_config(str(path))
    for name, value in first["changed"].items():
        table, _, key = name.partition(".")
        assert getattr(getattr(tuned, table), key) == value
    raw = tomllib.loads(output.read_text())
    assert raw["training"]["steps"] == 40
    assert (tuned.pipeline, tuned.data) == (given.pipeline, given.data)
    header = [line for line in output.read_text().splitlines() if line.startswith("# ")]
    assert f"python -m pipeline tune --config {path} --minutes 0.3" in header[0]
    assert "seed 0" in header[1]
    assert f"MAP@R {first['map@r']:.4f}" in header[2]

    again = CliRunner().invoke(main, command)
    assert isinstance(again.exception, ConfigError)
    assert "--overwrite" in str(again.exception)
    # A search is no run of the pipeline.
    with pytest.raises(NotRunError):
        latest_run(given)


@pytest.mark.slow
def test_a_signal_in_the_middle_of_a_trial_keeps_what_there_is(root):
    path = write_config(root)
    before = signal.getsignal(signal.SIGTERM)
    shown = []

    def end_the_next(candidate) -> None:
        shown.append(candidate)
        if len(shown) == 1:
            threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGTERM)).start()

    tuned = tune(path, 0.6, end_the_next)
    assert tuned.interrupted
    assert tuned.candidates == shown
    assert tuned.best.changes == {}
    assert not math.isnan(tuned.best.trial.map_at_r)
    assert signal.getsignal(signal.SIGTERM) is before
    table = trial_table(tuned)
    assert table.row_count == 1
    assert "ended early" in str(table.title)
    assert "optimistic" in str(table.caption)


@pytest.mark.slow
def test_when_every_trial_fails_the_message_says_why(root):
    path = write_config(root, CONFIG.replace("steps = 40", "rate_warmup_steps = 100000"))
    with pytest.raises(PipelineError, match=r"trials failed.*rate_warmup_steps"):
        tune(path, 0.2, lambda candidate: None)


@pytest.mark.parametrize("minutes", [0, -1, 0.1, math.nan, math.inf])
def test_minutes_that_are_not_enough(minutes):
    with pytest.raises(ConfigError, match=r"--minutes .* is not enough for two trials"):
        check_minutes(minutes)


def test_several_machines_are_refused(tmp_path):
    path = write_config(tmp_path)
    more = '[training]\ndistribution = "multi_worker"\nworkers = 2'
    path.write_text(path.read_text().replace("[training]", more))
    with pytest.raises(ConfigError, match="A search trains on one machine"):
        tune(path, 5, lambda candidate: None)


def test_without_data_the_message_names_the_folder(tmp_path):
    path = write_config(tmp_path)
    command = ["tune", "--config", str(path), "--minutes", "5", "--output", str(tmp_path / "o")]
    failed = CliRunner().invoke(main, command).exception
    assert isinstance(failed, NodeFailedError)
    assert f"{tmp_path}/data" in str(failed)


def test_outputs_that_cannot_be_written(tmp_path):
    path = write_config(tmp_path)
    for output, reason in ((path, "configuration itself"), (tmp_path / "a/b.toml", "no folder")):
        command = ["tune", "--config", str(path), "--minutes", "5", "--output", str(output)]
        failed = CliRunner().invoke(main, command).exception
        assert isinstance(failed, ConfigError)
        assert reason in str(failed)
