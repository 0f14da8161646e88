"""Metadata databases that cannot be used: told at once, with path, cause and remedy."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.config import PROJECT, Config, load_config
from pipeline.metadata import check_database, read_runs
from pipeline.metadata.connection import local_connection
from pipeline.runtime import MetadataError


@pytest.fixture
def config(tmp_path) -> Config:
    """A pipeline whose database has a context, and a folder of artifacts beside it."""
    path = tmp_path / "mine.toml"
    (tmp_path / "data").mkdir()
    path.write_text(
        f'[pipeline]\nname = "mine"\ndirectory = "{tmp_path}"\n[data]\npath = "{tmp_path}/data"\n'
    )
    config = load_config(str(path))
    (tmp_path / "mine" / "artifacts" / "Trainer").mkdir(parents=True)
    store = MetadataStore(local_connection(config, readonly=False))
    kind = store.put_context_type(proto.ContextType(name="pipeline"))
    store.put_contexts([proto.Context(type_id=kind, name="mine")])
    return config


def database(config: Config) -> Path:
    return Path(config.pipeline.metadata)


def test_a_good_one_is_no_fault(config) -> None:
    for write in (True, False):
        check_database(str(database(config)), write=write)
    check_database(str(database(config).with_name("none")), write=True)
    assert read_runs(config) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda content: b"", "is empty, although .*artifacts holds"),
        (lambda content: b"x" * 5000, "is no SQLite database"),
        (lambda content: content[: len(content) // 2], "is damaged"),
        (lambda content: content[:4096] + b"\xff" * 20_000 + content[24_096:], "is damaged"),
    ],
)
def test_a_broken_one_is_named_with_what_to_do(config, damage, says) -> None:
    file = database(config)
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(MetadataError, match=f"The metadata database {file} {says}") as raised:
        read_runs(config)
    assert "Put a copy of it back" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_new_one_may_be_empty(tmp_path) -> None:
    """As a first run leaves it that is killed when it has made the file."""
    (tmp_path / "metadata.sqlite").touch()
    check_database(str(tmp_path / "metadata.sqlite"), write=True)


def test_one_that_another_process_holds_is_told_in_seconds_with_its_holder(config) -> None:
    code = (
        "import sqlite3, sys, time\n"
        f"held = sqlite3.connect({str(database(config))!r}, isolation_level=None)\n"
        "held.execute('BEGIN EXCLUSIVE')\n"
        "print('held', flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            with pytest.raises(MetadataError, match=rf"is locked: the process {holder.pid} has"):
                check_database(str(database(config)), write=True, patience=0.5)
        finally:
            holder.kill()
    check_database(str(database(config)), write=True, patience=0.5)


def test_what_a_killed_writer_left_half_is_put_right_by_a_reader(config) -> None:
    """A journal that is still there is rolled back, although the reader only reads."""
    file = database(config)
    code = (
        "import os, sqlite3\n"
        f"half = sqlite3.connect({str(file)!r}, isolation_level=None)\n"
        "half.execute('PRAGMA cache_size = 1')\n"
        "half.execute('BEGIN')\n"
        "half.execute('CREATE TABLE many (x)')\n"
        "half.executemany('INSERT INTO many VALUES (?)', [('y' * 1000,)] * 2000)\n"
        "os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 9
    assert file.with_name(f"{file.name}-journal").exists()
    assert read_runs(config) == []
    assert sqlite3.connect(file).execute("SELECT count(*) FROM Context").fetchone() == (1,)


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes another user")
def test_one_that_may_only_be_read_is_told_before_a_run(config, tmp_path) -> None:
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o055)
    code = (
        "import os, sys\n"
        "from pipeline.metadata.sqlite_file import check_database\n"
        "os.setuid(65534)\n"
        "check_database(sys.argv[1], write=False)\n"
        "check_database(sys.argv[1], write=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(database(config))],
        cwd=PROJECT, capture_output=True, text=True,
    )  # fmt: skip
    assert "cannot be written to, so nothing can run" in done.stderr
