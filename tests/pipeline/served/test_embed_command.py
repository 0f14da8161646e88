"""`python -m pipeline embed`: three kinds of source, two of output, and a run that is killed."""

from __future__ import annotations

import csv
import hashlib
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from click.testing import CliRunner

from modules.contract import make_example
from modules.index import model_fingerprint
from pipeline.commands import main
from pipeline.config import PROJECT
from pipeline.runtime import ConfigError, PipelineError
from pipeline.served import sources
from tests.components.portable import needs_prism, prism_job_server
from tests.pipeline.served.served_versions import GALLERY

ROWS = GALLERY[::2]


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """30 digits in folders of their classes, one file that is no image, and a sheet of them."""
    folder = tmp_path_factory.mktemp("photos")
    for image, label, example_id in ROWS:
        path = folder / label.decode() / f"{example_id.decode()[-4:]}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(image)
    (folder / "bad.png").write_bytes(b"no image")
    with (folder / "sheet.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "id"])
        for path in names(folder)[:-1]:
            writer.writerow([path, path.split("/")[0], f"id of {path}"])
        writer.writerow(["gone.png", "1", "gone"])
    return folder


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.png"))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch) -> None:
    monkeypatch.setattr(sources, "PART", 7)


def embed(*arguments):
    return CliRunner().invoke(main, ["embed", *map(str, arguments)])


def vectors_of(table) -> np.ndarray:
    return np.array(table["vector"].to_pylist(), np.float32)


def test_a_folder_becomes_parquet(version, version_folder, photos, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    done = embed(photos, "--model", version_folder, "--output", output)
    assert done.exit_code == 3, done.output
    assert f"Wrote 30 vectors of 49 components to {output}" in done.stdout
    assert "error: bad.png: neither JPEG" in done.stderr
    table = pq.read_table(output)
    good = [name for name in names(photos) if name != "bad.png"]
    assert table["id"].to_pylist() == good
    expected = version.embed([(photos / name).read_bytes() for name in good]).vectors
    np.testing.assert_array_equal(vectors_of(table), expected)
    assert table.schema.metadata[b"model"].decode() == model_fingerprint(str(version_folder))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.parquet"]
    again = embed(photos, "--model", version_folder, "--output", output)
    with pytest.raises(ConfigError, match="is there already"):
        raise again.exception


def test_a_sheet_becomes_npy_with_its_ids(version, version_folder, photos, tmp_path: Path) -> None:
    output = tmp_path / "out.npy"
    done = embed(photos / "sheet.csv", "--model", version_folder, "--output", output)
    assert done.exit_code == 3, done.output
    assert "error: gone: " in done.stderr
    good = [name for name in names(photos) if name != "bad.png"]
    matrix = np.load(output)
    expected = version.embed([(photos / name).read_bytes() for name in good]).vectors
    np.testing.assert_array_equal(matrix, expected)
    rows = list(csv.DictReader(output.with_suffix(".csv").open()))
    assert rows == [{"id": f"id of {name}", "label": name.split("/")[0]} for name in good]


def test_records_become_parquet(version, version_folder, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    for number, options in enumerate(("", "GZIP")):
        path = str(tmp_path / "records" / f"{number}.tfrecord")
        with tf.io.TFRecordWriter(path, options) as writer:
            for row in ROWS[number::2]:
                writer.write(make_example(*row).SerializeToString())
            writer.write(tf.train.Example().SerializeToString())
    output = tmp_path / "out.parquet"
    done = embed(tmp_path / "records", "--model", version_folder, "--output", output)
    assert done.exit_code == 3, done.output
    assert "error: 0.tfrecord#15: the record has 0 images, not one" in done.stderr
    table = pq.read_table(output)
    rows = [*ROWS[0::2], *ROWS[1::2]]
    assert table["id"].to_pylist() == [example_id.decode() for _, _, example_id in rows]
    assert table["label"].to_pylist() == [label.decode() for _, label, _ in rows]
    expected = version.embed([image for image, _, _ in rows]).vectors
    np.testing.assert_array_equal(vectors_of(table), expected)


# Parts of 7 images, and no mercy when the first of them is there.
DIES = """
import os, pathlib, signal, sys
from pipeline.commands import main
from pipeline.served import sources

sources.PART = 7
rename = pathlib.Path.replace

def rename_and_die(self, target):
    rename(self, target)
    if "part-" in pathlib.Path(target).name:
        os.kill(os.getpid(), signal.SIGKILL)

pathlib.Path.replace = rename_and_die
main(sys.argv[1:])
"""


def test_a_killed_run_goes_on_and_the_result_is_the_same(
    version_folder, photos, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole.parquet", tmp_path / "killed.parquet"
    embed(photos, "--model", version_folder, "--output", whole)
    parts = tmp_path / "killed.parquet.parts"
    process = subprocess.run(
        [sys.executable, "-c", DIES, "embed", str(photos), "--model", str(version_folder),
         "--output", str(killed)],
        cwd=PROJECT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120,
    )  # fmt: skip
    assert process.returncode == -signal.SIGKILL
    assert not killed.exists()
    before = {path.name: path.stat().st_mtime_ns for path in parts.glob("part-*.parquet")}
    assert before
    done = embed(photos, "--model", version_folder, "--output", killed)
    assert f"{len(before)} of 5 parts by an earlier run" in done.stdout, done.output
    assert digest(killed) == digest(whole)
    assert not parts.exists()


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_parts_of_another_job_are_not_mixed_in(version_folder, photos, tmp_path: Path) -> None:
    output = tmp_path / "out.parquet"
    parts = tmp_path / "out.parquet.parts"
    parts.mkdir()
    arguments = (photos, "--model", version_folder, "--output", output)
    for job, words in (
        ({"model": "other", "source": "", "version": "serving/3"}, "--model serving/3, or begin"),
        ({"model": model_fingerprint(str(version_folder)), "source": ""}, "some have changed"),
    ):
        (parts / "job.json").write_text(json.dumps(job))
        with pytest.raises(ConfigError, match=words):
            raise embed(*arguments).exception
    assert embed(*arguments, "--overwrite").exit_code == 3
    assert output.exists()


def test_what_cannot_be_read_or_written_is_said(version_folder, tmp_path: Path) -> None:
    model = ("--model", version_folder)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.png").write_bytes(b"no image")
    (tmp_path / "sheet.csv").write_text("path\na.png\n")
    for source, output, kind, words in (
        ("bad", "out.parquet", PipelineError, "None of 1 images.*a.png: neither JPEG"),
        ("gone", "out.parquet", ConfigError, "There is no .*gone"),
        ("sheet.csv", "out.parquet", ConfigError, "has no column label"),
        ("bad", "out.txt", ConfigError, r"must end in \.parquet or \.npy"),
    ):
        done = embed(tmp_path / source, *model, "--output", tmp_path / output)
        with pytest.raises(kind, match=words):
            raise done.exception
        assert not (tmp_path / output).exists()


@needs_prism
def test_on_a_job_server(version_folder, photos, tmp_path: Path) -> None:
    """The same file, whoever did the work."""
    config = tmp_path / "there.toml"
    with prism_job_server(tmp_path) as endpoint:
        config.write_text(
            f'[pipeline]\nname = "photos"\n[data]\npath = "{photos}"\n'
            f'[beam]\nrunner = "portable"\nendpoint = "{endpoint}"\n'
        )
        outputs = []
        for name, further in (("here", []), ("there", ["--config", config])):
            output = tmp_path / f"{name}.parquet"
            done = embed(photos, "--model", version_folder, "--output", output, *further)
            assert done.exit_code == 3, done.output
            outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]
