"""Neighbours against a sort of all pairs, and against faiss."""

from __future__ import annotations

import time
from dataclasses import replace

import faiss
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from modules.retrieval import search as retrieval_search
from modules.retrieval.first_hits import find_first_hits
from modules.retrieval.keys import unpack, unpack_hits
from modules.retrieval.neighbours import find_neighbours
from modules.retrieval.search import (
    QueryTile,
    finish,
    query_tiles,
    search_threads,
    start_sweep,
)
from modules.retrieval.shards import GALLERY_TILE, MAX_POSITION, Shard, tiles_of


def cut(embeddings: np.ndarray, classes: np.ndarray, size: int) -> list[Shard]:
    """Shards of a gallery whose ids are row numbers."""
    ids = np.array([b"%06d" % i for i in range(len(embeddings))], object)
    return [
        Shard(a, ids[a : a + size], classes[a : a + size], {"m": embeddings[a : a + size]})
        for a in range(0, len(ids), size)
    ]


def searched(embeddings, classes, rows, depths, shards, groups=None) -> list[QueryTile]:
    """Tiles of the queries `rows` that have seen all shards."""
    ids = np.array([b"%06d" % i for i in rows], object)
    tiles = query_tiles(embeddings[rows], classes[rows], np.asarray(depths), groups)
    with search_threads() as pool:
        for shard in shards:
            own = shard.rows_of(ids)
            finish(start_sweep(tiles, tiles_of(shard, "m"), own, QueryTile.select, pool))
    return tiles


def search(embeddings, classes, rows, depths, shards) -> tuple[np.ndarray, ...]:
    """Positions, distances and hits of the queries `rows`, as deep as the deepest of them."""
    keys = np.full((len(rows), max(depths)), np.iinfo(np.int64).max)
    for tile in searched(embeddings, classes, rows, depths, shards):
        found = tile.neighbours()
        keys[tile.rows, : found.shape[1]] = found
    return *unpack(keys), unpack_hits(keys)[1]


def sorted_pairs(embeddings, classes, rows) -> tuple[np.ndarray, ...]:
    """The same by sorting all float64 distances; whole numbers make them exact."""
    values = embeddings.astype(np.float64)
    distances = ((values[rows, None] - values) ** 2).sum(axis=2)
    distances[np.arange(len(rows)), rows] = np.inf
    positions = np.argsort(distances, axis=1, kind="stable")[:, :-1]
    hits = classes[positions] == classes[rows][:, None]
    return positions, np.take_along_axis(distances, positions, axis=1), hits


def whole_numbers(n: int, dimension: int, largest: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(-largest, largest + 1, (n, dimension)).astype(np.float32)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 60),
    st.integers(1, 2),
    st.integers(1, 61),
    st.lists(st.integers(1, 70), min_size=1, max_size=5),
    st.permutations(range(4)),
    st.integers(0, 5),
)
def test_neighbours_are_exact_with_many_ties(n, largest, size, depths, order, seed):
    embeddings = whole_numbers(n, 2, largest, seed)
    classes = np.random.default_rng(seed).integers(0, 3, n).astype(np.int32)
    rows = np.arange(n)[: len(depths)]
    depths = depths[: len(rows)]
    shards = cut(embeddings, classes, size)
    shards = [shards[i] for i in order if i < len(shards)] + shards[4:]
    positions, distances, hits = search(embeddings, classes, rows, depths, shards)
    expected = sorted_pairs(embeddings, classes, rows)
    for row, depth in enumerate(depths):
        k = min(depth, n - 1)
        assert positions[row, :k].tolist() == expected[0][row, :k].tolist()
        assert distances[row, :k].tolist() == expected[1][row, :k].tolist()
        assert hits[row, :k].tolist() == expected[2][row, :k].tolist()
    assert (positions[:, n - 1 :] == -1).all()


@pytest.mark.parametrize("k", [1, 10, 40])
def test_neighbours_of_all_are_as_deep_as_asked_or_as_the_gallery_is(k):
    embeddings, classes = whole_numbers(30, 2, 2), np.zeros(30, np.int32)
    shards = cut(embeddings, classes, 7)
    ids = np.concatenate([shard.ids for shard in shards])
    positions, distances = find_neighbours(ids, embeddings, shards, k, model="m")
    expected = sorted_pairs(embeddings, classes, np.arange(30))
    found = min(k, 29)
    np.testing.assert_array_equal(positions[:, :found], expected[0][:, :found])
    np.testing.assert_array_equal(distances[:, :found], expected[1][:, :found])
    assert (positions[:, found:] == -1).all()
    assert np.isnan(distances[:, found:]).all()


@pytest.mark.parametrize(
    ("largest", "depth"),
    [(50, 3), (50, 700), (1, 40), (0, 40)],  # few and many neighbours, many ties, all the same
)
def test_many_tiles_and_shards(largest, depth):
    n = 2 * GALLERY_TILE + 500
    embeddings = whole_numbers(n, 6, largest)
    classes = np.random.default_rng(1).integers(0, 9, n).astype(np.int32)
    rows = np.arange(0, n, 29)
    found = search(embeddings, classes, rows, [depth] * len(rows), cut(embeddings, classes, 1500))
    for actual, expected in zip(found, sorted_pairs(embeddings, classes, rows), strict=True):
        np.testing.assert_array_equal(actual, expected[:, :depth])


@pytest.mark.parametrize(("dense", "waiting"), [(0, 8), (0.25, 0), (0.25, 8), (1, 10**6)])
def test_all_ways_of_selecting_agree(dense, waiting, monkeypatch):
    monkeypatch.setattr(retrieval_search, "_DENSE", dense)
    monkeypatch.setattr(retrieval_search, "_WAITING", waiting)  # cells are picked at once, or last
    n, rows = 3000, np.arange(0, 3000, 31)
    embeddings, rng = whole_numbers(n, 3, 4), np.random.default_rng(2)
    classes = rng.integers(0, 9, n).astype(np.int32)
    # Two columns of groups; nothing of a query's groups is its neighbour.
    groups = rng.integers(0, [40, 500], (n, 2)).astype(np.int32)
    shards = [
        replace(shard, groups=groups[shard.position : shard.position + len(shard.ids)])
        for shard in cut(embeddings, classes, 1300)  # tiles of two sizes
    ]
    tiles = searched(embeddings, classes, rows, [30] * len(rows), shards, groups[rows])
    positions, distances, hits = sorted_pairs(embeddings, classes, rows)
    for tile in tiles:
        keys = tile.neighbours()
        for at, row in enumerate(tile.rows):
            other = (groups[positions[row]] != groups[rows[row]]).all(axis=1)
            expected = [part[row][other][:30] for part in (positions, distances, hits)]
            found = *unpack(keys[at]), unpack_hits(keys[at])[1]
            for one, wanted in zip(found, expected, strict=True):
                np.testing.assert_array_equal(one, wanted)


def test_neighbours_equal_those_of_faiss():
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((6000, 32)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    classes, rows = np.zeros(6000, np.int32), np.arange(500)
    positions, distances, _ = search(
        embeddings, classes, rows, [20] * 500, cut(embeddings, classes, 1000)
    )
    index = faiss.IndexFlatL2(32)
    index.add(embeddings)
    theirs, neighbours = index.search(embeddings[:500], 21)
    np.testing.assert_array_equal(neighbours[:, 0], rows)  # itself
    np.testing.assert_allclose(distances, theirs[:, 1:], atol=2**-18)
    # Both round: neighbours whose distances differ by less may change places.
    assert (positions == neighbours[:, 1:]).mean() > 0.995


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 50), st.integers(1, 51), st.integers(0, 20))
def test_the_first_hit_and_what_is_tied_with_it(n, size, seed):
    embeddings = whole_numbers(n, 2, 2, seed)
    classes = np.random.default_rng(seed).integers(0, n // 2 + 1, n).astype(np.int32)
    ids = np.array([b"%06d" % i for i in range(n)], object)
    with search_threads() as pool:
        found = find_first_hits(cut(embeddings, classes, size), "m", ids, embeddings, classes, pool)
    _, distances, hits = sorted_pairs(embeddings, classes, np.arange(n))
    for row in range(n):
        expected = [0, 0, 0]
        if hits[row].any():
            nearest = distances[row, np.argmax(hits[row])]
            tied = distances[row] == nearest
            expected = [(distances[row] < nearest).sum(), tied.sum(), hits[row][tied].sum()]
        assert found[:, row].tolist() == expected


def check_beyond(tiles, embeddings, classes, rows) -> int:
    """Compares what is tied with the last of the kept with a count; returns their number."""
    positions, distances, hits = sorted_pairs(embeddings, classes, rows)
    for tile in tiles:
        width = min(tile.neighbours().shape[1], positions.shape[1])
        for at, row in enumerate(tile.rows):
            tied = distances[row, width:] == distances[row, width - 1]
            expected = [tied.sum(), hits[row, width:][tied].sum()]
            assert tile.beyond()[:, at].tolist() == expected
    return sum(tile.beyond()[0].sum() for tile in tiles)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(0, 2), st.integers(1, 61), st.integers(1, 9), st.integers())
def test_what_is_tied_beyond_the_kept_is_counted(n, largest, size, depth, seed):
    embeddings = whole_numbers(n, 2, largest, abs(seed))
    classes = np.random.default_rng(abs(seed)).integers(0, 3, n).astype(np.int32)
    shards, rows = cut(embeddings, classes, size), np.arange(n)
    tiles = searched(embeddings, classes, rows, [depth] * n, shards[::-1])
    check_beyond(tiles, embeddings, classes, rows)


@pytest.mark.parametrize(("largest", "depth"), [(4, 20), (1, 300), (0, 20)])
def test_ties_beyond_the_kept_are_counted_over_many_tiles(largest, depth):
    n = 4 * GALLERY_TILE + 300
    embeddings = whole_numbers(n, 3, largest)
    classes = np.random.default_rng(1).integers(0, 9, n).astype(np.int32)
    rows = np.arange(0, n, 37)
    tiles = searched(embeddings, classes, rows, [depth] * len(rows), cut(embeddings, classes, 900))
    assert check_beyond(tiles, embeddings, classes, rows) > 0


@pytest.mark.parametrize("dimension", [1, 2, 3, 7, 33, 64, 128, 300])
def test_identical_rows_are_tied_wherever_they_stand(dimension):
    rng = np.random.default_rng(dimension)
    some = rng.standard_normal((5, dimension)).astype(np.float32)
    some /= np.linalg.norm(some, axis=1, keepdims=True)
    n = 2 * GALLERY_TILE + 77
    which = np.arange(n) % 5
    embeddings, classes = some[which], np.zeros(n, np.int32)
    rows = np.arange(n)[-600:]  # in a whole tile of queries and in a part of one
    positions, distances, _ = search(
        embeddings, classes, rows, [n - 1] * len(rows), cut(embeddings, classes, 700)
    )
    for query in range(5):
        mine = which[rows] == query
        of_some = [set(distances[mine][which[positions[mine]] == other]) for other in range(5)]
        assert all(len(values) == 1 for values in of_some)
        assert of_some[query] == {0}


def test_noise_in_the_last_bits_decides_no_order():
    rng = np.random.default_rng(0)
    embeddings = np.tile(rng.standard_normal(128), (60, 1))
    embeddings = (embeddings + 3e-7 * rng.standard_normal(embeddings.shape)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    assert len(np.unique(embeddings, axis=0)) > 50
    classes = np.zeros(60, np.int32)
    shards = cut(embeddings, classes, 60)
    positions, distances, _ = search(embeddings, classes, np.arange(60), [59] * 60, shards)
    assert (distances == 0).all()
    assert (np.diff(positions, axis=1) > 0).all()  # by id


@pytest.mark.parametrize("scale", [2**-30, 1, 2**40])
def test_steps_follow_the_scale_of_the_embeddings(scale):
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((200, 8)).astype(np.float32)
    classes, rows = np.zeros(200, np.int32), np.arange(200)
    found = [
        search(values, classes, rows, [50] * 200, cut(values, classes, 70))
        for values in (embeddings, embeddings * np.float32(scale))
    ]
    np.testing.assert_array_equal(found[1][0], found[0][0])
    np.testing.assert_array_equal(found[1][1], found[0][1] * scale**2)


def test_positions_up_to_the_last():
    last = MAX_POSITION
    embeddings = np.array([[0.0], [3], [1]], np.float32)
    ids = np.array([b"a", b"b", b"c"], object)
    shard = Shard(last - 2, ids, np.zeros(3, np.int32), {"m": embeddings})
    positions, distances, hits = search(embeddings, np.zeros(3, np.int32), np.arange(1), [2], [])
    assert positions.tolist() == [[-1, -1]]
    assert np.isnan(distances).all()
    assert not hits.any()
    tiles = query_tiles(embeddings[:1], np.zeros(1, np.int32), np.array([2]))
    with search_threads() as pool:
        own = shard.rows_of(ids[:1])
        finish(start_sweep(tiles, tiles_of(shard, "m"), own, QueryTile.select, pool))
    positions, _ = unpack(tiles[0].neighbours())
    assert positions.tolist() == [[last, last - 1]]


def test_a_shard_that_is_started_early_meets_each_tile_after_the_one_before(monkeypatch):
    monkeypatch.setattr(retrieval_search, "QUERY_TILE", 4)
    embeddings = np.arange(24, dtype=np.float32)[:, None]
    classes = np.zeros(24, np.int32)
    tiles = query_tiles(embeddings, classes, np.ones(24, np.int64))
    assert len(tiles) == 6
    seen: dict[int, list[int]] = {id(tile): [] for tile in tiles}
    visited: set[int] = set()

    def visit(tile, gallery_tile, own, products):
        assert id(tile) not in visited  # by another thread
        visited.add(id(tile))
        # The first tiles are the slowest, so that later shards would overtake.
        time.sleep(0.01 if tile is tiles[0] else 0.001)
        seen[id(tile)].append(gallery_tile.position)
        visited.remove(id(tile))

    with search_threads() as pool:
        at_work = [
            future
            for shard in cut(embeddings, classes, 3)
            for future in start_sweep(tiles, tiles_of(shard, "m"), np.full(24, -1), visit, pool)
        ]
        finish(at_work)
    assert list(seen.values()) == [list(range(0, 24, 3))] * 6


def test_what_fails_in_one_shard_is_raised_by_those_behind_it():
    embeddings, classes = np.ones((2, 1), np.float32), np.zeros(2, np.int32)
    tiles = query_tiles(embeddings, classes, np.ones(2, np.int64))

    def visit(tile, gallery_tile, own, products):
        assert gallery_tile.position > 0, "the first shard"

    with search_threads() as pool:
        first, second = (
            start_sweep(tiles, tiles_of(shard, "m"), np.full(2, -1), visit, pool)
            for shard in cut(embeddings, classes, 1)
        )
        for futures in (first, second):
            with pytest.raises(AssertionError, match="the first shard"):
                finish(futures)
