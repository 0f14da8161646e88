"""Wrong labels by the neighbours, against a loop that follows the definition."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings, strategies as st

from modules.audit import judge_labels, rank_labels


def unit(rng: np.random.Generator, rows: int) -> np.ndarray:
    vectors = rng.standard_normal((rows, 4)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def doubt_of(row: int, labels: list[bytes], vectors: np.ndarray, nearest: int) -> float:
    """The definition, in float64."""
    apart = ((vectors.astype(float) - vectors[row].astype(float)) ** 2).sum(axis=1)
    others = sorted((n for n in range(len(labels)) if n != row), key=lambda n: (apart[n], n))
    own = [apart[n] for n in others if labels[n] == labels[row]][:5]
    around, last = others[:nearest], apart[others[:nearest][-1]]
    means = []
    for label in {labels[n] for n in around} - {labels[row]}:
        found = [apart[n] for n in around if labels[n] == label][:5]
        wanted = min(5, labels.count(label))
        means.append((sum(found) + (wanted - len(found)) * last) / wanted)
    if not own or not means:
        return 0.0
    return np.mean(own) / (min(means) + 1e-3)


@given(
    labels=st.lists(st.sampled_from([b"a", b"b", b"c"]), min_size=3, max_size=90),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_the_doubt_is_that_of_the_definition(labels, seed) -> None:
    vectors = unit(np.random.default_rng(seed), len(labels))
    ids = [f"{n:03d}".encode() for n in range(len(labels))]
    found = rank_labels(ids, labels, vectors).doubt
    expected = [doubt_of(n, labels, vectors, 50) for n in range(len(labels))]
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)
    order = np.random.default_rng(seed).permutation(len(labels))
    shuffled = rank_labels([ids[n] for n in order], [labels[n] for n in order], vectors[order])
    np.testing.assert_array_equal(shuffled.doubt, found)


def test_a_wrong_label_is_named_with_the_right_one_and_two_copies_as_near() -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(16, dtype=np.float32)
    labels = [b"a", b"b", b"c"] * 20
    vectors = np.stack([centres[n % 3] for n in range(60)]) + rng.normal(0, 0.1, (60, 16))
    vectors[30] = vectors[0] + 1e-4
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    labels[7] = b"c"  # it was b
    ids = [f"{n:02d}".encode() for n in range(60)]
    found = judge_labels(ids, labels, vectors)
    assert [(one["id"], one["label"], one["neighbours"]) for one in found.suspects] == [
        ("07", "c", "b")
    ]
    assert all(int(one) % 3 == 1 for one in found.suspects[0]["nearest"])
    assert [one["ids"] for one in found.near] == [["00", "30"]]
    assert found.confused == {("c", "b"): 1}
    assert found.sizes == {"a": 20, "b": 19, "c": 21}


@given(rows=st.integers(3, 40), seed=st.integers(0, 99), twins=st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_near_are_those_far_below_the_usual_distance_or_far_below_the_next(
    rows, seed, twins
) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng, rows)
    for _ in range(twins):
        one, other = rng.choice(rows, 2, replace=False)
        vectors[one] = vectors[other] + rng.normal(0, 0.03, 4)
    apart = ((vectors[:, None].astype(float) - vectors[None].astype(float)) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    first, distances = apart.argmin(axis=1), np.sort(apart, axis=1)
    usual = np.median(distances[:, 0])
    # Nothing is asked where rounding decides.
    bounds = [usual / 16, *(distances[:, 1] / 4)]
    assume(all(abs(one / bound - 1) > 1e-3 for one in distances[:, 0] for bound in bounds))
    expected = set()
    for row in range(rows):
        nearest = distances[row, 0]
        following = min(distances[row, 1], distances[first[row], 1])
        if nearest <= usual / 16 or (first[first[row]] == row and nearest <= following / 4):
            expected.add(tuple(sorted((f"{row:02d}", f"{first[row]:02d}"))))
    ids = [f"{n:02d}".encode() for n in range(rows)]
    found = judge_labels(ids, [b"a"] * rows, vectors)
    assert {tuple(one["ids"]) for one in found.near} == expected
    assert len(found.near) == len(expected)


def test_images_alone_in_their_class_and_single_images_are_no_suspects() -> None:
    vectors = unit(np.random.default_rng(1), 3)
    assert judge_labels([b"1", b"2", b"3"], [b"a", b"b", b"c"], vectors).suspects == []
    assert judge_labels([b"1"], [b"a"], vectors[:1]).suspects == []
