"""Which classes share a bucket: the bisection against slow rules, and through the executor."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from components.triplet_gen.buckets import BucketPlan
from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.neighbourhood import LEAST_CLASSES, Centroids, bisect
from tests.components.triplet_gen.triplet_models import model_artifact
from tests.components.triplet_gen.triplet_node import check, contents, make, read_files
from tests.real_data import digits, examples_artifact


def dot(a, b) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_mean(points, counts) -> list[int]:
    return [
        round(sum(n * p[d] for p, n in zip(points, counts, strict=True)) / sum(counts))
        for d in range(len(points[0]))
    ]


def slow_direction(points, counts) -> list[int]:
    def farthest(origin):
        differences = [[x - y for x, y in zip(p, origin, strict=True)] for p in points]
        return max(points, key=lambda p: dot(*[differences[points.index(p)]] * 2))

    one = farthest(slow_mean(points, counts))
    two = farthest(one)
    for _ in range(4):
        way = [b - a for a, b in zip(one, two, strict=True)]
        middle = [a + b for a, b in zip(one, two, strict=True)]
        sides = [2 * dot(p, way) > dot(middle, way) for p in points]
        if len(set(sides)) < 2:
            break
        one, two = (
            slow_mean(
                [p for p, s in zip(points, sides, strict=True) if s == side],
                [n for n, s in zip(counts, sides, strict=True) if s == side],
            )
            for side in (False, True)
        )
    return [b - a for a, b in zip(one, two, strict=True)]


def slow_bisect(points, counts, classes, first, buckets) -> dict[int, tuple[int, int]]:
    """The first bucket and the number of buckets of each class."""
    if buckets == 1 or len(classes) < 2 * LEAST_CLASSES:
        return dict.fromkeys(classes, (first, buckets))
    way = slow_direction([points[c] for c in classes], [counts[c] for c in classes])
    line = sorted(classes, key=lambda c: (dot(points[c], way), c))
    total = sum(counts[c] for c in classes)

    def off(place):
        share = Fraction(sum(counts[c] for c in line[:place]), total)
        return abs(share - Fraction(buckets // 2, buckets))

    def gap(place):
        return dot(points[line[place]], way) - dot(points[line[place - 1]], way)

    places = range(LEAST_CLASSES, len(line) - LEAST_CLASSES + 1)
    limit = max(min(map(off, places)), Fraction(5, 100))
    cut = min((p for p in places if off(p) <= limit), key=lambda p: (-gap(p), off(p), p))
    left, right = sorted(line[:cut]), sorted(line[cut:])
    share = Fraction(sum(counts[c] for c in left), total)
    of_left = min(max(1, round(buckets * share)), buckets - 1)
    return slow_bisect(points, counts, left, first, of_left) | slow_bisect(
        points, counts, right, first + of_left, buckets - of_left
    )


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 70), st.integers(1, 12), st.sampled_from([3, 50, 4096]), st.integers(0, 2**32)
)
@example(68, 10, 3, 68)  # two cuts are equally far from the share, but not as floats
def test_bisection_as_the_slow_rule(classes, buckets, spread, seed):
    rng = np.random.default_rng(seed)
    points = rng.integers(-spread, spread, (classes, 3))  # ties abound if it is narrow
    counts = 2 ** rng.integers(0, 6, classes)
    first, width = bisect(points, counts, buckets)
    expected = slow_bisect(points.tolist(), counts.tolist(), list(range(classes)), 0, buckets)
    found = zip(first.tolist(), width.tolist(), strict=True)
    assert dict(enumerate(found)) == expected


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(0, 2**32))
def test_buckets_are_about_equally_full(buckets, seed):
    rng = np.random.default_rng(seed)
    classes = 20 * buckets
    points, counts = rng.integers(-4096, 4096, (classes, 5)), rng.integers(5, 15, classes)
    first, width = bisect(points, counts, buckets)
    assert (first + width).max() <= buckets
    size = np.bincount(first, counts / width, buckets)
    assert (width == 1).all()
    mean = counts.sum() / buckets
    assert mean / 1.6 < size.min() <= size.max() < 1.6 * mean


def test_the_most_different_classes_part_first():
    """Four clusters of 20 classes become the four buckets."""
    rng = np.random.default_rng(0)
    corners = np.array([[0, 0], [0, 900], [3000, 0], [3000, 900]])
    cluster = rng.permutation(np.repeat(np.arange(4), 20))
    points = corners[cluster] + rng.integers(-200, 200, (80, 2))
    first, width = bisect(points, np.full(80, 30), 4)
    assert (width == 1).all()
    assert len(set(zip(cluster.tolist(), first.tolist(), strict=True))) == 4


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 2**32))
def test_twins_stay_together(seed):
    rng = np.random.default_rng(seed)
    points = np.tile(rng.integers(-4096, 4096, (50, 8)), (2, 1))
    first, _ = bisect(points, np.full(100, 7), 4)
    assert (first[:50] == first[50:]).all()


def test_few_classes_share_all_buckets():
    first, width = bisect(np.eye(15, dtype=np.int64), np.full(15, 100), 5)
    assert set(first) == {0}
    assert set(width) == {5}


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_centroids_do_not_depend_on_the_order(seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(30, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    labels = [b"%d" % i for i in rng.integers(0, 3, 30)]
    whole, parts = Centroids(), Centroids()
    whole.add(labels, vectors)
    for piece in np.array_split(rng.permutation(30), 4):
        part = Centroids()
        part.add([labels[i] for i in piece], vectors[piece])
        parts.merge(part)
    names = sorted(set(labels))
    means = whole.means(names)
    assert (means == parts.means(names)).all()
    for name, mean in zip(names, means, strict=True):
        exact = vectors[[label == name for label in labels]].astype(float).mean(axis=0)
        assert np.abs(mean / 4096 - exact).max() <= 1 / 4096


def test_groups_of_a_large_class_share_its_buckets():
    """A class with half of all images has them in all buckets of its neighbours, and no other."""
    counts = {b"%02d" % i: 6400 if i == 0 else 160 for i in range(35)}
    centroids = Centroids()
    points = np.zeros((35, 2), np.float32)
    points[:15, 0], points[15:, 1] = 1, 1
    centroids.add(sorted(counts), points)
    plan = BucketPlan(counts, 800, 0, "train", centroids)
    labels = [label for label, n in counts.items() for _ in range(n)]
    codes = np.array([int(label) for label in labels])
    buckets, _ = plan.assign(codes, hash_ids([b"%d" % i for i in range(len(codes))], 0))
    large, near, far = (
        set(buckets[np.isin(codes, list(c))].tolist()) for c in ([0], range(1, 15), range(15, 35))
    )
    assert plan.num_buckets == 15
    assert near <= large
    assert not large & far
    assert len(large) == 11  # for 6,400 + 14 · 160 of 11,840 images


def rows_with_twins(per_class):
    """Ten digits, each under four names: 40 classes, of which four look alike."""
    rows = []
    for digit, part in itertools.product(range(10), range(4)):
        some = digits(per_class, start=part * per_class, classes=[digit])
        rows += [(image, b"%d-%d" % (part, digit), i) for image, _, i in some]
    return rows


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_artifact(tmp_path_factory.mktemp("model"))


CHOSEN = {"strategy": "hard", "bucket_size": 180, "triplets_per_anchor": 2}


def test_the_node_puts_confusable_classes_together(tmp_path, model):
    rows = rows_with_twins(20)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    together = {}
    d_an = {}
    for buckets in ("hash", "neighbourhood"):
        output = make(tmp_path / buckets, examples, models=[model], buckets=buckets, **CHOSEN)
        check(output, rows, 2)
        assert output.get_string_custom_property("bucketed_by") == buckets
        d_an[buckets] = output.get_float_custom_property("mean_d_an")
        place = defaultdict(set)
        for number, records in enumerate(read_files(output)):
            for record in records:
                if not record.copy:
                    place[record.row[1]].add(number)
        assert all(len(numbers) == 1 for numbers in place.values())  # one group
        pairs = [(a, b) for a, b in itertools.combinations(place, 2) if a[-1:] == b[-1:] and a != b]
        together[buckets] = sum(place[a] == place[b] for a, b in pairs) / len(pairs)
    assert together["hash"] < 0.5 < together["neighbourhood"]
    assert d_an["neighbourhood"] < d_an["hash"]


@pytest.mark.parametrize("strategy", ["random", "hard"])
def test_the_same_bytes_whatever_the_files_and_workers(tmp_path, model, strategy):
    """The embeddings of this model are exact, so the batches they are made in do not matter."""
    rows = rows_with_twins(10)
    chosen = CHOSEN | {"strategy": strategy, "buckets": "neighbourhood", "max_per_class": 5}
    examples = examples_artifact(tmp_path / "examples", {"train": rows}, shards=1)
    one = contents(make(tmp_path / "one", examples, models=[model], **chosen))
    assert Counter("Split-train" in name for name in one)[True] > 1
    shuffled = random.Random(1).sample(rows, len(rows))
    examples = examples_artifact(tmp_path / "shuffled", {"train": shuffled}, shards=7)
    workers = ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]
    assert one == contents(make(tmp_path / "again", examples, workers, [model], **chosen))


def test_without_a_model_classes_mix_by_hash(tmp_path):
    rows = digits(20)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    near = make(tmp_path / "near", examples, buckets="neighbourhood", bucket_size=50)
    plain = make(tmp_path / "plain", examples, bucket_size=50)
    assert near.get_string_custom_property("bucketed_by") == "hash"
    assert not near.has_custom_property("mean_d_an")
    shards = [{k: v for k, v in contents(o).items() if "Split-" in k} for o in (near, plain)]
    assert shards[0] == shards[1] != {}


def test_an_image_of_the_sample_that_cannot_be_decoded_is_an_error(tmp_path, model):
    rows = [*digits(3), *((b"no image", b"x", b"broken/%d" % i) for i in range(3))]
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    message = r"no usable embedding of some images \(\d\), such as 'broken/\d': Unknown image"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, models=[model], buckets="neighbourhood")
    assert not (tmp_path / "out" / ".tmp").exists()
