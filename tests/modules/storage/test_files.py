"""Files that appear whole or not at all, on this machine and by URI."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import tensorflow as tf

from modules.storage import read_file, read_text, write_file


@pytest.mark.parametrize("prefix", ["", "file://"])
def test_what_is_written_is_read_and_nothing_else_is_left(tmp_path, prefix) -> None:
    path = f"{prefix}{tmp_path}/new/folder/x.bin"
    write_file(path, b"one")
    write_file(path, [b"t", b"w", b"o"])
    assert read_file(path) == b"two"
    assert [p.name for p in (tmp_path / "new" / "folder").iterdir()] == ["x.bin"]


def test_text(tmp_path) -> None:
    write_file(f"{tmp_path}/x.txt", "grün".encode())
    assert read_text(f"{tmp_path}/x.txt") == read_text(f"file://{tmp_path}/x.txt") == "grün"
    for missing in (f"{tmp_path}/y.txt", f"file://{tmp_path}/y.txt"):
        with pytest.raises(OSError, match=r"y\.txt"):
            read_text(missing)


def test_a_write_that_fails_leaves_the_file_as_it_was(tmp_path) -> None:
    path = str(tmp_path / "x.bin")
    write_file(path, b"before")

    def broken():
        yield b"half"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_file(path, broken())
    assert Path(path).read_bytes() == b"before"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_the_unfinished_file_may_lie_elsewhere(tmp_path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    seen = []

    def pieces():
        yield b"a"
        seen.extend(p.name.partition(".")[0] for p in temporary.iterdir())
        yield b"b"

    (tmp_path / "out").mkdir()
    write_file(str(tmp_path / "out" / "x"), pieces(), temp_dir=str(temporary))
    assert seen == ["x"]
    assert list(temporary.iterdir()) == []
    assert (tmp_path / "out" / "x").read_bytes() == b"ab"


def test_a_reader_never_sees_half_of_a_file(tmp_path) -> None:
    path = str(tmp_path / "x.bin")
    contents = {bytes([letter]) * 100_000 for letter in b"abcd"}
    write_file(path, b"a" * 100_000)
    ended, seen = threading.Event(), set()

    def read() -> None:
        while not ended.is_set():
            seen.add(read_file(path))

    reader = threading.Thread(target=read)
    reader.start()
    for _ in range(20):
        writers = [threading.Thread(target=write_file, args=(path, c)) for c in contents]
        for writer in writers:
            writer.start()
        for writer in writers:
            writer.join()
    ended.set()
    reader.join()
    assert seen <= contents


def test_a_folder_that_cannot_be_written(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(tf.errors.OpError):
        write_file(f"{tmp_path}/file/x", b"a")
