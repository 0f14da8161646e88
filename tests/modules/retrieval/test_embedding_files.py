"""Embeddings in files: the same values from any parts, whatever else lies in the folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.retrieval import embedding_files
from modules.retrieval.embedding_files import EmbeddingFiles, StoredGallery, _Store
from modules.retrieval.rows import LabelledRows, concatenate
from modules.retrieval.shards import Shard
from modules.retrieval.transforms import ScoreQueries
from tests.modules.retrieval.test_transforms import (
    KS,
    check_scores,
    in_batches,
    make_rows,
    run,
)

ROWS = make_rows(0, 60)


def store(batches: list[LabelledRows], folder: Path | str) -> list[LabelledRows]:
    """One bundle."""
    store = _Store(str(folder))
    store.start_bundle()
    stored = [rows for batch in batches for rows in store.process(batch)]
    return stored + [last.value for last in store.finish_bundle()]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.integers(1, 59), max_size=5, unique=True),
    st.integers(1, 300),
    st.lists(st.integers(0, 59), min_size=1),
)
def test_any_rows_of_any_files_come_back(tmp_path_factory, cuts, file_values, wanted):
    folder = tmp_path_factory.mktemp("embeddings")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_files, "_FILE_VALUES", file_values)
        stored = store(in_batches(ROWS, cuts), folder)
    batches = {rows.ids.size for rows in in_batches(ROWS, cuts)}
    # A row has 3 + 1 values; a batch is never cut.
    assert all(len(rows.ids) < -(-file_values // 4) + max(batches) for rows in stored)
    assert len(list(folder.iterdir())) == 2 * len(stored)  # two models
    whole = concatenate(stored)
    assert whole.ids.tolist() == ROWS.ids
    assert {places.shape for places in whole.embeddings.values()} == {(60, 2)}
    found = EmbeddingFiles(str(folder)).load(whole.take(np.array(wanted)))
    assert found.ids.tolist() == [ROWS.ids[i] for i in wanted]
    np.testing.assert_array_equal(found.embeddings["x"], ROWS.embeddings[wanted])
    np.testing.assert_array_equal(found.embeddings["y"], ROWS.embeddings[wanted, :1])
    assert {values.dtype for values in found.embeddings.values()} == {np.dtype(np.float32)}


def test_a_repeated_bundle_writes_files_of_its_own(tmp_path):
    batches = in_batches(ROWS, [20])
    first = concatenate(store(batches, tmp_path))
    before = contents(tmp_path)
    other = concatenate(store(batches[1:], tmp_path))
    assert contents(tmp_path).items() > before.items()
    files = EmbeddingFiles(str(tmp_path))
    np.testing.assert_array_equal(files.load(first).embeddings["x"], ROWS.embeddings)
    np.testing.assert_array_equal(files.load(other).embeddings["x"], ROWS.embeddings[20:])


@pytest.mark.parametrize("batches", [1, 2, 5])
def test_a_bundle_does_not_end_well_without_its_files(batches, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_files, "_FILE_VALUES", 1)  # a file for each batch
    (tmp_path / "a file").touch()
    with pytest.raises(OSError, match="a file"):
        store(in_batches(ROWS, list(range(1, batches))), tmp_path / "a file")


def test_a_gallery_is_read_again_with_its_embeddings(tmp_path):
    rows = concatenate(store(in_batches(ROWS, []), tmp_path))
    order = np.argsort(rows.ids)
    ordered = rows.take(order)
    shards = [
        Shard(start, part.ids, np.zeros(20, np.int32), part.embeddings)
        for start in (0, 20, 40)
        for part in [ordered.take(slice(start, start + 20))]
    ]
    gallery = StoredGallery(shards, EmbeddingFiles(str(tmp_path)))
    for _ in range(2):  # as a search whose first hits are late does
        found = np.concatenate([shard.embeddings["x"] for shard in gallery])
        np.testing.assert_array_equal(found, ROWS.embeddings[order])


def test_what_an_earlier_attempt_left_plays_no_part(tmp_path):
    other = make_rows(1, 50)
    store(in_batches(other, [7]), tmp_path)
    (tmp_path / "half.npy").write_bytes(b"\x93NUMPY")
    before = contents(tmp_path)
    run(
        lambda _: ScoreQueries(KS, query_rows=7, shard_rows=9, folder=str(tmp_path)),
        in_batches(ROWS, [20, 40]),
        None,
        check_scores(ROWS, ROWS),
    )
    after = contents(tmp_path)
    assert after.items() > before.items()
    # The gallery and the queries are the same rows, and stored once.
    values = [np.load(tmp_path / name) for name in after.keys() - before.keys()]
    assert sum(values.size for values in values) == 60 * (3 + 1)


def test_files_that_only_tensorflow_reaches():
    folder = "ram://embeddings"
    rows = concatenate(store(in_batches(ROWS, [20]), folder))
    found = EmbeddingFiles(folder).load(rows)
    np.testing.assert_array_equal(found.embeddings["x"], ROWS.embeddings)


def test_the_temporary_folder_goes_with_the_process():
    code = (
        "from pathlib import Path\n"
        "from modules.retrieval import temporary_folder\n"
        "folder = Path(temporary_folder())\n"
        "(folder / 'one.npy').touch()\n"
        "assert temporary_folder() == str(folder)\n"
        "print(folder)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    folder = Path(done.stdout.split()[-1])
    assert folder.is_absolute()
    assert not folder.exists()
