"""What holds of the triplets of any data set, through the executor: real Beam, real files."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, example, given, settings, strategies as st
from scipy.stats import chisquare

from components.triplet_gen.buckets import BucketPlan
from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.validation import feasible
from modules.settings import TripletSettings
from tests.components.triplet_gen.test_anchors import slow_repeats
from tests.components.triplet_gen.triplet_models import model_artifact
from tests.components.triplet_gen.triplet_node import check, contents, images, make, read
from tests.real_data import digits, examples_artifact

IMAGES = [row[0] for row in digits(3)]


def rows_of(sizes):
    """So many examples of each class, in random order; the 30 images come back again and again."""
    labels = [b"%d" % label for label, size in enumerate(sizes) for _ in range(size)]
    rows = [(IMAGES[i % 30], label, b"id-%d" % i) for i, label in enumerate(labels)]
    return random.Random(0).sample(rows, len(rows))


def heavy_tail(classes, largest):
    return [max(1, largest // rank) for rank in range(1, classes + 1)]


SIZES = st.one_of(
    st.lists(st.integers(1, 300), min_size=1, max_size=12),
    st.builds(heavy_tail, st.integers(1, 1000), st.integers(1, 400)),
)


CONFIGURED = st.builds(
    lambda drawn, mined: drawn | (mined if drawn["strategy"] in ("semi_hard", "hard") else {}),
    st.builds(
        lambda **values: values,
        strategy=st.sampled_from(["random", "class_balanced", "semi_hard", "hard"]),
        positives=st.sampled_from(["random", "hard"]),
        bucket_size=st.sampled_from([2, 16, 100, 4096]),
        triplets_per_anchor=st.integers(1, 3),
        max_per_class=st.sampled_from([0, 0, 1, 7]),
        buckets=st.sampled_from(["hash", "neighbourhood"]),
        seed=st.integers(0, 2**31),
        validation=st.sampled_from(["auto", "images", "classes"]),
        validation_fraction=st.sampled_from([0.01, 0.1, 0.5]),
        validation_images=st.sampled_from([2, 20, 2000]),
    ),
    st.builds(
        lambda **values: values,
        skip_nearest=st.sampled_from([0, 5]),
        nearest=st.sampled_from([3, 10]),
        least_ratio=st.sampled_from([0.0, 1.2]),
    ),
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_artifact(tmp_path_factory.mktemp("model"))


@settings(deadline=None, max_examples=10)
@given(SIZES, CONFIGURED)
@example([4, 4] + 9_998 * [1], {"bucket_size": 16})
@example([20, *(5_000 * [2]), *(4_999 * [1])], {"strategy": "class_balanced"})
@example([1_500, 4, 1], {"bucket_size": 2})
@example(heavy_tail(300, 400), {"strategy": "semi_hard", "triplets_per_anchor": 2})
@example(heavy_tail(300, 400), {"buckets": "neighbourhood", "bucket_size": 100})
@example([300, 2, 2, 2, 1], {"strategy": "hard", "positives": "hard", "bucket_size": 16})
def test_guarantees_of_any_class_sizes(model, sizes, configured):
    assume(feasible(dict(enumerate(sizes))))
    rows = rows_of(sizes)
    folder = Path(tempfile.mkdtemp())
    try:
        examples = examples_artifact(folder / "examples", {"train": rows})
        output = make(folder / "out", examples, models=[model], **configured)
        train = check(output, rows)
        triplets = read(output)
    finally:
        shutil.rmtree(folder)

    _, labels, ids = zip(*train, strict=True)
    chosen = TripletSettings(**{"triplets_per_anchor": 1} | configured)
    assert output.get_string_custom_property("sampled_by") == chosen.strategy
    assert output.get_string_custom_property("positives_sampled_by") == chosen.positives
    repeats = slow_repeats(labels, hash_ids(ids, chosen.seed).tolist(), chosen)
    expected = {i: n for i, n in zip(ids, repeats, strict=True) if n}
    assert Counter(triplet["anchor"][2] for triplet in triplets) == expected
    counts = Counter(labels)
    numbers = {
        "triplets": sum(repeats),
        "anchors": len(expected),
        "classes": len(counts),
        "anchors_without_positive": sizes.count(1),
        "train_images": len(train),
        "validation_images": len(rows) - len(train),
    }
    assert {name: output.get_int_custom_property(name) for name in numbers} == numbers
    assert max(counts.values()) > 1 < len(counts)


def test_positives_and_negatives_are_uniform(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": rows_of([6, 8, 10, 1])})
    output = make(tmp_path / "out", examples, triplets_per_anchor=400)
    label = {row[2]: row[1] for row in images(output)}
    triplets = read(output)
    for role in ("positive", "negative"):
        counts = Counter((t["anchor"][2], t[role][2]) for t in triplets)
        for anchor in {anchor for anchor, _ in counts}:
            allowed = [
                row
                for row in label
                if row != anchor and (label[row] == label[anchor]) == (role == "positive")
            ]
            observed = [counts[anchor, row] for row in allowed]
            assert sum(observed) == 400
            # Up to 50 tests: one of them fails by chance with a probability below 0.0001.
            assert len(observed) == 1 or chisquare(observed).pvalue > 1e-6


def test_every_example_meets_every_other_one_equally_often():
    """Over many seeds, who shares a bucket with the first example, in its class and outside."""
    counts = {b"a": 256, b"b": 256, b"c": 40}
    labels = [label for label, n in counts.items() for _ in range(n)]
    codes = np.array([sorted(counts).index(label) for label in labels])
    ids = [b"%d" % i for i in range(len(labels))]
    seeds = 1_000
    met = np.zeros(len(ids), int)
    for seed in range(seeds):
        bucket, _ = BucketPlan(counts, 138, seed, "train").assign(codes, hash_ids(ids, seed))
        met += bucket == bucket[0]
    # 4 groups and 4 buckets. Same class: the same group, or another in the same bucket.
    same, other = met[1:256], met[256:]
    p = 1 / 4 + 3 / 4 * 1 / 4
    assert abs(same.mean() / seeds - p) < 0.05
    assert abs(other.mean() / seeds - 1 / 4) < 0.05
    # The counts of single examples scatter as of a fair coin: 5 deviations, of 551 examples.
    for observed, share in ((same, p), (other, 1 / 4)):
        deviation = (seeds * share * (1 - share)) ** 0.5
        assert abs(observed - seeds * share).max() < 5 * deviation


THREADS = ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]
PROCESSES = ["--direct_num_workers=4", "--direct_running_mode=multi_processing"]


@pytest.mark.parametrize(
    ("strategy", "workers"),
    [
        ("class_balanced", THREADS),
        ("semi_hard", THREADS),
        pytest.param("semi_hard", PROCESSES, marks=pytest.mark.slow),
    ],
)
def test_the_same_bytes_in_any_order_on_any_workers(tmp_path, strategy, workers):
    rows = [*digits(150, classes=range(3)), *digits(20, classes=[4]), *digits(1, classes=[5])]
    properties = {
        "strategy": strategy,
        "bucket_size": 90,
        "triplets_per_anchor": 2,
        "max_per_class": 120,
    }
    models = [model_artifact(tmp_path / "model")]
    examples = examples_artifact(tmp_path / "examples", {"train": rows}, shards=1)
    first = contents(make(tmp_path / "one", examples, models=models, **properties))
    assert sum("Split-" in name for name in first) > 2

    shuffled = random.Random(1).sample(rows, len(rows))
    examples = examples_artifact(tmp_path / "shuffled", {"train": shuffled}, shards=7)
    again = contents(make(tmp_path / "again", examples, workers, models, **properties))
    assert first == again
