"""Every kind of index with every storage, against brute force in float64."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st

from modules.index import Vectors, building, make_index
from modules.index.building import number_of_lists, sample_rows, threads

KINDS, STORAGES = ("flat", "ivf", "hnsw"), ("float32", "float16", "int8")


def unit_vectors(count: int, dimension: int = 8, seed: int = 0) -> np.ndarray:
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def in_parts(whole: np.ndarray, sizes: list[int]) -> Vectors:
    firsts = np.cumsum([0, *sizes])
    assert firsts[-1] == len(whole)
    return Vectors(sizes, whole.shape[1], lambda part: whole[firsts[part] : firsts[part + 1]])


def nearest(whole: np.ndarray, query: np.ndarray, k: int) -> list[int]:
    apart = ((whole.astype(float) - query.astype(float)) ** 2).sum(axis=1)
    return np.argsort(apart, kind="stable")[:k].tolist()


def widest(index: faiss.Index, kind: str) -> faiss.Index:
    """All of it is searched."""
    if kind == "ivf":
        index.nprobe = index.nlist
    elif kind == "hnsw":
        index.hnsw.efSearch = 400
    return index


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_all_of_an_index_finds_what_brute_force_finds(kind, storage) -> None:
    whole = unit_vectors(400)
    index = widest(make_index(in_parts(whole, [1, 299, 100]), kind, storage), kind)
    assert index.ntotal == 400
    distances, rows = index.search(whole[:50], 5)
    apart = ((whole[rows] - whole[:50, None]) ** 2).sum(axis=2)
    # A step of int8 is 1/255 of a range of at most 2, a component is off by half of it.
    error = {"float32": 1e-6, "float16": 2e-3, "int8": 2 * 2 * 8**0.5 / 255}[storage]
    np.testing.assert_allclose(distances, apart, atol=error)
    for query in range(50):
        exact = nearest(whole, whole[query], 5)
        if storage == "float32":
            assert rows[query].tolist() == exact
        farthest = ((whole[exact[-1]] - whole[query]) ** 2).sum()
        assert (apart[query] <= farthest + 2 * error).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("storage", STORAGES)
def test_the_bytes_depend_on_vectors_and_seed_alone(kind, storage) -> None:
    """Neither on the parts nor on the threads."""
    whole = unit_vectors(300)
    with threads(1):
        one = make_index(in_parts(whole, [300]), kind, storage, seed=3)
    with threads(4):
        other = make_index(in_parts(whole, [7, 93, 200]), kind, storage, seed=3)
    assert np.array_equal(faiss.serialize_index(one), faiss.serialize_index(other))


@pytest.mark.parametrize("kind", ["flat", "hnsw"])
@pytest.mark.parametrize("storage", STORAGES)
def test_codes_do_not_move_as_they_become_more(monkeypatch, kind, storage) -> None:
    """Or both places would be in memory at once: twice the bytes of the index."""
    places = []

    def noted(index, kind, images) -> None:
        reserve(index, kind, images)
        places.append(int(codes(index).data()))

    def codes(index):
        return faiss.downcast_index(index.storage if kind == "hnsw" else index).codes

    reserve = building._reserve
    monkeypatch.setattr(building, "_reserve", noted)
    monkeypatch.setattr(building, "_TOGETHER", 1000)
    whole = unit_vectors(20_000 if kind == "flat" else 3000, 64)
    index = make_index(in_parts(whole, [len(whole) // 10] * 10), kind, storage)
    assert places == [int(codes(index).data())]
    assert index.ntotal == len(whole)


def test_the_seed_draws_other_centres() -> None:
    # 64 of each list are looked at, so the gallery must be larger for a sample to be one.
    whole = unit_vectors(6000, 4)
    one, other = (make_index(in_parts(whole, [6000]), "ivf", seed=seed) for seed in (0, 1))
    assert not np.array_equal(faiss.serialize_index(one), faiss.serialize_index(other))


@pytest.mark.parametrize("kind", KINDS)
def test_int8_cuts_no_value_off(kind) -> None:
    """The only large values are in the last vector, which no sample need hold."""
    whole = np.full((100, 4), 0.5, np.float32)
    whole[-1] = [1, -1, 1, -1]
    index = widest(make_index(in_parts(whole, [90, 10]), kind, "int8"), kind)
    distances, rows = index.search(whole[-1:], 1)
    assert rows.tolist() == [[99]]
    assert distances[0, 0] < 4 * (2 / 255) ** 2


@pytest.mark.parametrize(("images", "lists"), [(1, 1), (38, 1), (78, 2), (10_000, 256),
                                               (1_000_000, 4000)])  # fmt: skip
def test_number_of_lists(images, lists) -> None:
    """4·√N, but no list of less than 39 on average."""
    assert number_of_lists(images) == lists


def test_one_image() -> None:
    for kind in KINDS:
        index = make_index(in_parts(unit_vectors(1), [1]), kind)
        assert index.search(unit_vectors(1), 1)[1].tolist() == [[0]]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.data())
@hypothesis_settings(max_examples=50, deadline=None)
def test_vectors_in_parts_are_the_whole(sizes, data) -> None:
    total = sum(sizes)
    whole = np.arange(total * 3, dtype=np.float32).reshape(total, 3)
    vectors = in_parts(whole, sizes)
    assert len(vectors) == total
    read = [part for _, part in vectors.parts()]
    np.testing.assert_array_equal(np.concatenate(read), whole)
    assert [first for first, _ in vectors.parts()] == np.cumsum([0, *sizes])[:-1].tolist()
    if total:
        rows = data.draw(st.lists(st.integers(0, total - 1), max_size=8))
        np.testing.assert_array_equal(vectors.take(np.array(rows, int)), whole[rows])
        np.testing.assert_array_equal(
            vectors.extremes(), np.stack([whole.min(axis=0), whole.max(axis=0)])
        )


def test_a_sample_is_of_different_rows_in_order() -> None:
    rows = sample_rows(1000, 100, seed=1)
    assert len(set(rows.tolist())) == 100
    assert (np.diff(rows) > 0).all()
    assert sample_rows(3, 100, seed=1).tolist() == [0, 1, 2]
