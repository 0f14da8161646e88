"""Which index is chosen, and whether its recall is what it says."""

from __future__ import annotations

import faiss
import numpy as np
import pytest

from modules.index import Vectors, choose_index, make_index
from modules.index.building import sample_rows
from modules.index.tuning import WORTHWHILE, Sample, without_own
from modules.settings import IndexSettings


def clusters(count: int = 3000, dimension: int = 16, classes: int = 60) -> np.ndarray:
    """Unit vectors around some centres, as classes lie."""
    generator = np.random.default_rng(5)
    centres = generator.standard_normal((classes, dimension))
    drawn = centres[np.arange(count) % classes]
    drawn = drawn + 0.4 * generator.standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def noise(count: int, dimension: int) -> np.ndarray:
    """Unit vectors without any structure: in many dimensions no index saves anything."""
    drawn = np.random.default_rng(6).standard_normal((count, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def as_vectors(whole: np.ndarray) -> Vectors:
    half = len(whole) // 2
    return Vectors([half, len(whole) - half], whole.shape[1],
                   lambda part: whole[half:] if part else whole[:half])  # fmt: skip


def recall_by_loops(whole: np.ndarray, index: faiss.Index, rows: np.ndarray, k: int) -> float:
    """The definition, word by word, in float64."""
    exact = whole.astype(float)
    found = 0
    for row in rows:
        apart = ((exact - exact[row]) ** 2).sum(axis=1)
        others = np.delete(apart, row)
        limit = np.sort(others)[k - 1]
        _, answer = index.search(whole[row : row + 1], k + 1)
        neighbours = [n for n in answer[0].tolist() if n != row][:k]
        found += sum(n >= 0 and apart[n] <= limit + 1e-6 for n in neighbours)
    return found / (k * len(rows))


@pytest.mark.parametrize("nprobe", [1, 4])
def test_recall_is_the_share_of_the_exact_neighbours(nprobe) -> None:
    whole = noise(3000, 24)
    index = make_index(as_vectors(whole), "ivf")
    index.nprobe = nprobe
    sample = Sample(as_vectors(whole), 7, 100, seed=2)
    expected = recall_by_loops(whole, index, sample_rows(3000, 100, 2), 7)
    assert 0 < expected < 1
    assert sample.recall(index) == pytest.approx(expected, abs=1e-12)


def test_of_images_at_the_same_distance_each_is_right() -> None:
    """12 copies of each image: a query finds any 3 of the 11 others."""
    whole = np.repeat(clusters(50), 12, axis=0)
    index = make_index(as_vectors(whole), "hnsw")
    index.hnsw.efSearch = 64
    sample = Sample(as_vectors(whole), 3, 50, seed=0)
    assert sample.recall(index) == 1.0
    # Which copies it names are not those of the exact search, so sets alone would say less.
    _, found = index.search(sample.queries, 4)
    own = sample_rows(len(whole), 50, 0)
    assert any(
        set(row) != set(exact)
        for row, exact in zip(without_own(found, own), sample._exact, strict=True)
    )


def test_a_query_does_not_find_itself() -> None:
    found = np.array([[5, 1, 2], [1, 7, 2], [3, 4, 6]])
    assert without_own(found, np.array([5, 7, 9])).tolist() == [[1, 2], [1, 2], [3, 4]]


def test_flat_of_float32_is_exact() -> None:
    chosen = choose_index(as_vectors(clusters()), IndexSettings())
    assert (chosen.kind, chosen.storage, chosen.recall, chosen.instead) == (
        "flat", "float32", 1.0, "")  # fmt: skip
    assert chosen.k == 10


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_search_is_as_narrow_as_the_recall_allows(kind) -> None:
    whole = noise(3000, 24)
    wide, narrow = (
        choose_index(as_vectors(whole), IndexSettings(kind=kind, min_recall=least, queries=200))
        for least in (0.999, 0.5)
    )
    key = {"ivf": "nprobe", "hnsw": "ef_search"}[kind]
    assert wide.kind == narrow.kind == kind
    assert wide.recall >= 0.999 > narrow.recall >= 0.5
    assert wide.parameters[key] > narrow.parameters[key]
    assert 1 > wide.parameters["compared"] > narrow.parameters["compared"] > 0
    # A half of it would not do.
    index = wide.index
    if kind == "ivf":
        index.nprobe //= 2
        assert Sample(as_vectors(whole), 10, 200, 0).recall(index) < 0.999


def test_above_exact_up_to_an_index_that_saves_most_comparisons() -> None:
    whole = clusters()
    assert choose_index(as_vectors(whole), IndexSettings(exact_up_to=3000)).kind == "flat"
    chosen = choose_index(as_vectors(whole), IndexSettings(exact_up_to=2999))
    assert chosen.kind == "ivf"
    assert chosen.recall >= 0.95
    assert chosen.parameters["compared"] <= WORTHWHILE


def test_where_no_index_saves_anything_the_search_stays_exact() -> None:
    whole = noise(600, 64)
    chosen = choose_index(
        as_vectors(whole), IndexSettings(exact_up_to=1, min_recall=0.999, queries=100)
    )
    assert (chosen.kind, chosen.storage, chosen.recall) == ("flat", "float32", 1.0)
    assert "ivf compares a query with " in chosen.instead
    assert "so it is flat with float32" in chosen.instead


def test_a_storage_that_costs_too_much_recall_is_replaced() -> None:
    whole = clusters()
    asked = IndexSettings(kind="flat", storage="int8", min_recall=0.9999, queries=200)
    chosen = choose_index(as_vectors(whole), asked)
    assert (chosen.kind, chosen.storage, chosen.recall) == ("flat", "float32", 1.0)
    assert chosen.instead.startswith("flat with int8 finds 0.9")
    kept = choose_index(as_vectors(whole), asked.model_copy(update={"min_recall": 0.8}))
    assert (kept.storage, kept.instead) == ("int8", "")
    assert 0.8 <= kept.recall < 0.9999


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_gallery_smaller_than_k(count) -> None:
    for settings in (IndexSettings(), IndexSettings(kind="hnsw"), IndexSettings(storage="int8")):
        chosen = choose_index(as_vectors(clusters(count)), settings)
        assert chosen.k == count - 1
        assert chosen.index.ntotal == count
        assert chosen.recall >= 0.95


def test_the_choice_does_not_depend_on_a_clock() -> None:
    settings = IndexSettings(exact_up_to=100, queries=100)
    one, other = (choose_index(as_vectors(clusters()), settings) for _ in range(2))
    assert one.parameters == other.parameters
    assert np.array_equal(faiss.serialize_index(one.index), faiss.serialize_index(other.index))
