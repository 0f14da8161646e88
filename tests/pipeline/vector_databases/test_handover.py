"""A gallery goes into a database: all of it, once, and the alias moves when it is there."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pytest

from modules.index import index_folder, open_index
from pipeline.vector_databases import (
    Facts,
    Stored,
    VectorDatabaseError,
    collection_name,
    open_gallery,
)
from pipeline.vector_databases.handover import to_remove
from tests.pipeline.vector_databases.reading import (
    ALIAS,
    KilledError,
    Reader,
    make_version,
    push,
    rows_of,
)


def test_all_images_arrive_with_the_model_that_made_them(reader: Reader, tmp_path: Path) -> None:
    database, version = reader.database(), make_version(tmp_path / "7", b"one")
    done = push(version, database)
    assert (done.loaded, done.before, done.removed, done.done_before) == (2500, None, [], False)
    assert reader.rows() == rows_of(version)
    assert reader.models() == {done.facts.model[:12]}
    (stored,) = database.collections(ALIAS)
    assert stored.name == done.collection == database.served(ALIAS)
    assert stored.facts.complete
    assert (stored.facts.version, stored.facts.images, stored.facts.dimension) == (7, 2500, 8)
    index = open_index(index_folder(version))
    assert stored.facts.model == index.description.model
    query = index.vectors([1234])
    assert reader.nearest(query[0], 5) == index.search(query, 5)[1][0].tolist()


def test_what_is_done_is_not_done_again(reader: Reader, tmp_path: Path) -> None:
    database, version = reader.database(), make_version(tmp_path / "7", b"one", images=5)
    first = push(version, database)
    (before,) = database.collections(ALIAS)
    again = push(version, database)
    assert (again.loaded, again.done_before) == (0, True)
    assert again.collection == first.collection
    assert database.collections(ALIAS) == [before]
    shutil.copytree(version, tmp_path / "8")
    assert push(str(tmp_path / "8"), database).done_before
    (after,) = database.collections(ALIAS)
    assert after.facts.version == 8


@pytest.mark.parametrize(("batches", "left"), [(1, 1476), (2, 452), (3, 0)])
def test_a_push_that_was_killed_goes_on(
    reader: Reader, batches: int, left: int, tmp_path: Path
) -> None:
    """2,500 images come in batches of 1,024, 1,024 and 452."""
    database = reader.database()
    old = make_version(tmp_path / "1", b"old", images=5)
    new = make_version(tmp_path / "2", b"new")
    push(old, database)
    with pytest.raises(KilledError):
        push(new, database, killed_after=batches)
    assert reader.rows() == rows_of(old)
    done = push(new, database)
    assert done.loaded == left
    assert reader.rows() == rows_of(new)
    assert reader.models() == {done.facts.model[:12]}


def test_old_collections_go_and_a_rollback_finds_the_kept_one(
    reader: Reader, tmp_path: Path
) -> None:
    database = reader.database()
    names = [b"one", b"two", b"three"]
    versions = [make_version(tmp_path / str(i), name, images=5) for i, name in enumerate(names)]
    done = [push(version, database) for version in versions]
    assert [one.before for one in done] == [None, done[0].collection, done[1].collection]
    assert [one.removed for one in done] == [[], [], [done[0].collection]]
    shutil.copytree(versions[1], tmp_path / "4")
    back = push(str(tmp_path / "4"), database)
    assert (back.collection, back.facts.version) == (done[1].collection, 4)
    assert (back.loaded, back.before, back.removed) == (0, done[2].collection, [])
    assert not back.done_before
    assert reader.rows() == rows_of(versions[1])
    # Served last before the one that is served now: the third. With keep = 0 nothing stays.
    assert push(versions[1], database, keep=0).removed == [done[2].collection]
    assert [one.name for one in database.collections(ALIAS)] == [back.collection]


def test_the_same_model_with_more_images_is_another_collection(
    reader: Reader, tmp_path: Path
) -> None:
    database = reader.database()
    few, more = (make_version(tmp_path / str(images), b"one", images=images) for images in (5, 6))
    first, second = push(few, database), push(more, database)
    assert first.facts.model == second.facts.model
    assert first.collection != second.collection == database.served(ALIAS)
    assert reader.rows() == rows_of(more)


def test_another_number_of_components_is_switched_to(reader: Reader, tmp_path: Path) -> None:
    database = reader.database()
    push(make_version(tmp_path / "1", b"one", images=5), database)
    wider = make_version(tmp_path / "2", b"two", images=5, dimension=12)
    push(wider, database)
    assert reader.rows() == rows_of(wider)


def test_what_others_removed_comes_back(reader: Reader, tmp_path: Path) -> None:
    """From the middle, so that the number of rows does not tell which are missing."""
    database, version = reader.database(), make_version(tmp_path / "7", b"one")
    done = push(version, database)
    reader.remove_rows(done.collection, 10, 20)
    assert push(version, database).loaded >= 10
    assert reader.rows() == rows_of(version)


def test_what_others_added_is_not_served(reader: Reader, tmp_path: Path) -> None:
    database = reader.database()
    old = make_version(tmp_path / "1", b"old", images=5)
    new = make_version(tmp_path / "2", b"new")
    push(old, database)
    with pytest.raises(KilledError):
        push(new, database, killed_after=1)
    (name,) = {one.name for one in database.collections(ALIAS)} - {database.served(ALIAS)}
    reader.add_row(name, 9999)
    with pytest.raises(VectorDatabaseError, match=r"holds 2,501 images and the gallery 2,500"):
        push(new, database)
    assert reader.rows() == rows_of(old)


def test_a_switch_counts_for_itself(reader: Reader, tmp_path: Path) -> None:
    database = reader.database()
    done = push(make_version(tmp_path / "7", b"one", images=5), database)
    reader.remove_rows(done.collection, 0, 2)
    with pytest.raises(VectorDatabaseError, match="does not hold the 5 images"):
        database.switch(done.facts)


def test_names_that_others_have_are_left_alone(reader: Reader, tmp_path: Path) -> None:
    database, version = reader.database(), make_version(tmp_path / "7", b"one", images=5)
    reader.make_collection(ALIAS)
    with pytest.raises(VectorDatabaseError, match="--name"):
        push(version, database)
    assert database.collections(ALIAS) == []


def test_a_collection_that_others_made_is_left_alone(reader: Reader, tmp_path: Path) -> None:
    database, version = reader.database(), make_version(tmp_path / "7", b"one", images=5)
    with open_gallery(version) as gallery:
        name = collection_name(ALIAS, gallery.description.model, gallery.digest)
    reader.make_collection(name)
    with pytest.raises(VectorDatabaseError, match="was not made by this command"):
        push(version, database)


def test_further_columns_and_strange_bytes_arrive(reader: Reader, tmp_path: Path) -> None:
    columns = {
        "camera": pa.array([1, None, 3]),
        "score": pa.array([0.5, float("nan"), float("inf")]),
        "of": pa.array([{"a": [b"x", b"\xff"]}, None, {"a": []}]),
        "thumbnails": [b"jpeg", None, b"jpeg"],
    }
    ids = [b'it\'s a \\\t"id"\n{},NULL', b"\xff\xfe", "Vögel\0".encode()]
    labels = [b"NULL", b"", b"c"]
    version = make_version(tmp_path / "7", b"o", images=3, ids=ids, labels=labels, **columns)
    push(version, reader.database())
    texts = ['it\'s a \\\t"id"\n{},NULL', r"\xff\xfe", r"Vögel\x00"]
    assert [row[1:3] for row in reader.rows()] == list(zip(texts, ["NULL", "", "c"], strict=True))
    assert reader.columns() == [
        {"camera": 1, "score": 0.5, "of": {"a": ["x", r"\xff"]}},
        {"camera": None, "score": None, "of": None},
        {"camera": 3, "score": None, "of": {"a": []}},
    ]


def test_images_of_a_catalogue_have_no_labels(reader: Reader, tmp_path: Path) -> None:
    push(make_version(tmp_path / "7", b"o", images=3, labels=[None] * 3), reader.database())
    assert [row[:3] for row in reader.rows()] == [(i, f"id-{i:05d}", None) for i in range(3)]


def test_a_later_push_that_goes_on_is_left_alone() -> None:
    def stored(name: str, version: int | None, served: str) -> Stored:
        facts = Facts(
            alias=ALIAS, model="m", gallery="g", version=version, images=1, dimension=1,
            served=served,
        )  # fmt: skip
        return Stored(name, facts)

    others = [
        stored("first", 3, "2024-01-01"),
        stored("killed", 4, ""),
        stored("second", 5, "2024-01-03"),
        stored("third", 2, "2024-01-02"),
        stored("going", 7, ""),
    ]
    assert to_remove(others, 6, keep=1) == ["third", "first", "killed"]
    assert to_remove(others, 6, keep=9) == ["killed"]
    assert to_remove(others, None, keep=2) == ["first", "killed", "going"]
