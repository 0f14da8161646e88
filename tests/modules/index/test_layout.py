"""The files of an index: written whole, opened again, searched, and checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings, strategies as st

from modules.index import (
    IndexDescription,
    IndexFileError,
    IndexMismatchError,
    NoIndexError,
    check_same_model,
    has_index,
    index_folder,
    model_fingerprint,
    open_index,
    read_description,
    write_index,
)
from tests.modules.index.index_folders import (
    fake_model,
    gallery_table,
    unit_vectors,
    write_flat_index,
)


def nearest_by_loop(queries, vectors, ids, k) -> list[list[int]]:
    """By the definition: every distance in whole numbers, ties in the order of ids."""
    result = []
    for query in queries:
        distances = [int(((query - vector) ** 2).sum()) for vector in vectors]
        order = sorted(range(len(vectors)), key=lambda row: (distances[row], ids[row]))
        result.append(order[:k])
    return result


def test_what_is_written_is_what_is_opened(tmp_path: Path) -> None:
    vectors = unit_vectors(2500, 8)  # three row groups
    pictures = [None if i == 7 else b"picture %d" % i for i in range(2500)]
    cameras = pa.array(range(2500), pa.int64())
    version = fake_model(tmp_path / "7")
    hashes = pa.array([b"%d" % i for i in range(2500)], pa.binary())
    further = {"camera": cameras, "image_hash": hashes}
    write_flat_index(version, vectors, thumbnails=pictures, **further)
    description = check_same_model(str(version))
    assert (description.images, description.dimension, description.kind) == (2500, 8, "flat")
    size = Path(index_folder(str(version)), "vectors.faiss").stat().st_size
    assert description.bytes == size
    for folder in (index_folder(str(version)), f"file://{index_folder(str(version))}"):
        index = open_index(folder)
        assert len(index) == 2500
        asked = [2499, 0, 7, 1024]
        assert index.rows(asked) == [
            {"id": b"id-%05d" % i, "label": b"c%d" % (i % 3), "camera": i} for i in asked
        ]
        assert index.thumbnails(asked) == [pictures[i] for i in asked]
        np.testing.assert_array_equal(index.vectors(asked), vectors[asked])
        assert index.find(b"id-01024") == 1024
        assert index.find(b"id-x") is None
        distances, rows = index.search(vectors[asked], 3)
        assert rows[:, 0].tolist() == asked
        assert distances[:, 0].tolist() == [0, 0, 0, 0]


def test_a_gallery_without_pictures_has_none(tmp_path: Path) -> None:
    version = fake_model(tmp_path / "7")
    write_flat_index(version, unit_vectors(3, 4))
    index = open_index(index_folder(str(version)))
    assert not index.has_thumbnails
    assert index.thumbnails([0, 2]) == [None, None]
    assert index.vectors([]).shape == (0, 4)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_flat_index_is_exact_and_orders_ties_by_id(data, tmp_path_factory) -> None:
    """Whole numbers, so that many distances are equal; ids in any order."""
    count = data.draw(st.integers(1, 24))
    rows = st.lists(st.integers(-1, 1), min_size=3, max_size=3)
    vectors = np.array(data.draw(st.lists(rows, min_size=count, max_size=count)), np.float32)
    queries = np.array(data.draw(st.lists(rows, min_size=0, max_size=4)), np.float32).reshape(-1, 3)
    ids = [b"%03d" % i for i in data.draw(st.permutations(range(count)))]
    k = data.draw(st.integers(1, count + 2))
    version = fake_model(tmp_path_factory.mktemp("v") / "1")
    write_flat_index(version, vectors, ids=ids)
    distances, found = open_index(index_folder(str(version))).search(queries, k)
    assert found.tolist() == nearest_by_loop(queries, vectors, ids, k)
    assert distances.shape == (len(queries), min(k, count))
    assert distances.dtype == np.float32
    exact = ((queries[:, None] - vectors[found]) ** 2).sum(axis=2)
    np.testing.assert_array_equal(distances, exact)


@pytest.mark.parametrize("factory", ["IVF8,Flat", "HNSW8,Flat", "IVF8,SQ8", "HNSW8_SQ8", "SQfp16"])
def test_other_kinds_find_nearly_the_same(factory: str, tmp_path: Path) -> None:
    vectors = unit_vectors(400, 8)
    index = faiss.index_factory(8, factory)
    index.train(vectors)
    index.add(vectors)
    if factory.startswith("IVF"):
        index.nprobe = 4  # is written with the index
    kind = next((kind for kind in ("ivf", "hnsw") if factory.startswith(kind.upper())), "flat")
    description = IndexDescription(model="m", images=1, dimension=1, kind=kind)
    write_index(str(tmp_path), gallery_table(vectors), index, description)
    opened = open_index(str(tmp_path))
    distances, found = opened.search(vectors, 5)
    assert (np.diff(distances, axis=1) >= 0).all()
    assert (found[:, 0] == np.arange(400)).mean() > 0.98
    _, exact = faiss.knn(vectors, vectors, 5)
    recall = np.mean([len({*a} & {*b}) / 5 for a, b in zip(found, exact, strict=True)])
    assert recall > 0.7


def test_a_search_that_finds_too_few_says_so(tmp_path: Path) -> None:
    vectors = unit_vectors(40, 8)
    index = faiss.index_factory(8, "IVF8,Flat")
    index.train(vectors)
    index.add(vectors)
    description = IndexDescription(model="m", images=1, dimension=1, kind="ivf")
    write_index(str(tmp_path), gallery_table(vectors), index, description)
    distances, found = open_index(str(tmp_path)).search(vectors[:1], 40)
    assert found[0, 0] == 0
    assert found[0, -1] == -1
    assert np.isinf(distances[0, -1])


def test_wrong_questions_are_refused(tmp_path: Path) -> None:
    version = fake_model(tmp_path / "7")
    write_flat_index(version, unit_vectors(3, 4))
    index = open_index(index_folder(str(version)))
    with pytest.raises(ValueError, match=r"vectors of 4 components.*\(2, 5\)"):
        index.search(np.zeros((2, 5), np.float32), 1)
    with pytest.raises(ValueError, match="k must be at least 1, not 0"):
        index.search(np.zeros((2, 4), np.float32), 0)


def test_rows_and_vectors_must_belong_together(tmp_path: Path) -> None:
    index = faiss.IndexFlatL2(4)
    index.add(unit_vectors(3, 4))
    description = IndexDescription(model="m", images=3, dimension=4)
    for table, words in (
        (gallery_table(unit_vectors(2, 4)), "2 rows for 3 vectors"),
        (gallery_table(unit_vectors(3, 5)), "needs 4 float32"),
        (gallery_table(unit_vectors(3, 4)).drop_columns(["label"]), "lack label"),
    ):
        with pytest.raises(IndexFileError, match=words):
            write_index(str(tmp_path / "index"), table, index, description)
        assert not has_index(str(tmp_path))


def test_what_is_broken_or_missing_is_named(tmp_path: Path) -> None:
    version = fake_model(tmp_path / "7")
    with pytest.raises(NoIndexError, match=r"table \[index\]"):
        check_same_model(str(version))
    write_flat_index(version, unit_vectors(3, 4))
    folder = version / "index"
    text = (folder / "index.json").read_text()
    for change, words in (
        ({"format": 2}, "formats up to 1"),
        ({"kind": "tree"}, "does not describe"),
        ({"images": 4}, "3 vectors of 4 components and 3 rows.*says 4 of 4"),
    ):
        (folder / "index.json").write_text(json.dumps(json.loads(text) | change))
        with pytest.raises(IndexFileError, match=words):
            open_index(str(folder))
    (folder / "index.json").write_text(text)
    for name in ("vectors.faiss", "gallery.parquet"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(IndexFileError, match="cannot be read"):
            open_index(str(folder))
        (folder / name).write_bytes(whole)
    open_index(str(folder))


def test_a_mixture_is_refused_with_what_would_fit(tmp_path: Path) -> None:
    one, other = fake_model(tmp_path / "5", b"one"), fake_model(tmp_path / "6", b"other")
    for version in (one, other):
        write_flat_index(version, unit_vectors(3, 4))
    mixed = fake_model(tmp_path / "9", b"one")
    shutil.copytree(other / "index", mixed / "index")
    assert read_description(str(mixed / "index")).model == model_fingerprint(str(other))
    with pytest.raises(IndexMismatchError) as error:
        check_same_model(str(mixed))
    assert "index of this model is in version 5" in str(error.value)
    assert "model of this index is in version 6" in str(error.value)
    for version in (one, other):
        check_same_model(str(version))
        shutil.rmtree(version)
    with pytest.raises(IndexMismatchError, match="No version beside it has an index of this model"):
        check_same_model(str(mixed))
