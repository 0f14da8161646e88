"""How often an example is an anchor: limits per class and balanced classes."""

from __future__ import annotations

from collections import Counter, defaultdict
from fractions import Fraction

import numpy as np
from hypothesis import given, settings, strategies as st

from components.triplet_gen.anchors import AnchorPlan
from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.ranks import Ranks, join_ranks
from modules.settings import TripletSettings
from tests.components.triplet_gen.triplet_node import check, images, make, read
from tests.real_data import digits, examples_artifact


def slow_repeats(labels, digests, settings) -> list[int]:
    """The rule, example by example, in exact arithmetic."""
    limit = settings.max_per_class or len(labels)
    hashes = defaultdict(list)
    for label, (_, _, rank) in zip(labels, digests, strict=True):
        hashes[label].append(rank)
    chosen = {label: set(sorted(own)[-limit:]) for label, own in hashes.items() if len(own) > 1}
    total = settings.triplets_per_anchor * sum(map(len, chosen.values()))
    repeats = []
    for label, (_, group, rank) in zip(labels, digests, strict=True):
        if rank not in chosen.get(label, ()):
            repeats.append(0)
        elif settings.strategy == "class_balanced":
            share = Fraction(total, len(chosen) * len(chosen[label]))
            extra = Fraction(group >> 11, 2**53) < share % 1
            repeats.append(int(share) + extra)
        else:
            repeats.append(settings.triplets_per_anchor)
    return repeats


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=60),
    st.integers(0, 5),
    st.integers(1, 3),
    st.sampled_from(["random", "class_balanced"]),
    st.integers(0, 100),
)
def test_repeats_as_the_slow_rule(numbers, limit, per_anchor, strategy, seed):
    labels = [b"%d" % number for number in numbers]
    digests = hash_ids([b"%d" % i for i in range(len(labels))], seed)
    chosen = TripletSettings(
        triplets_per_anchor=per_anchor, strategy=strategy, max_per_class=limit, seed=seed
    )
    ranks = join_ranks([Ranks(np.array(labels, object), digests[:, 2])])
    plan = AnchorPlan(Counter(labels), ranks.highest(limit).by_label(), chosen)
    codes = np.array([sorted(set(labels)).index(label) for label in labels])
    assert plan.repeats(codes, digests).tolist() == slow_repeats(labels, digests.tolist(), chosen)


def test_balanced_classes_get_about_the_same_number():
    counts = {b"%d" % size: size for size in (1, 2, 5, 30, 400, 7000)}
    settings = TripletSettings(strategy="class_balanced", triplets_per_anchor=2)
    labels = [label for label, n in counts.items() for _ in range(n)]
    codes = np.array([sorted(counts).index(label) for label in labels])
    digests = hash_ids([b"%d" % i for i in range(len(labels))], 0)
    repeats = AnchorPlan(counts, {}, settings).repeats(codes, digests)
    totals = np.bincount(codes, repeats, len(counts))
    expected = 2 * (2 + 5 + 30 + 400 + 7000) / 5
    for label, total in zip(sorted(counts), totals, strict=True):
        assert total == 0 if label == b"1" else abs(total - expected) < 5 * expected**0.5


def test_the_node_balances_classes(tmp_path):
    rows = [row for c in range(9) for row in digits(3 * (c + 1) ** 2, classes=[c])]
    rows += digits(1, classes=[9])  # 3 of class 0 … 243 of class 8, and a singleton
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    settings = {"strategy": "class_balanced", "triplets_per_anchor": 2, "bucket_size": 300}
    output = make(tmp_path / "out", examples, **settings)
    train = check(output, rows)
    triplets = read(output)
    assert output.get_string_custom_property("sampled_by") == "class_balanced"
    assert output.get_int_custom_property("triplets") == len(triplets)
    anchors = Counter(triplet["anchor"][1] for triplet in triplets)
    expected = 2 * (len(train) - 1) / 9
    assert set(anchors) == {b"%d" % c for c in range(9)}
    assert all(abs(n - expected) < 5 * expected**0.5 for n in anchors.values())
    # Each anchor of a class has nearly the same number.
    by_id = Counter(triplet["anchor"][2] for triplet in triplets)
    share = int(expected / 3)
    assert {by_id[i] for _, label, i in rows if label == b"0"} <= {share, share + 1}


def test_the_node_limits_the_anchors_of_a_class(tmp_path):
    rows = digits(200, classes=[0]) + digits(5, classes=[1]) + digits(30, classes=[2])
    examples = examples_artifact(tmp_path / "examples", {"train": rows}, shards=3)
    settings = {"max_per_class": 20, "triplets_per_anchor": 3, "bucket_size": 100}
    output = make(tmp_path / "out", examples, **settings)
    train = check(output, rows)
    triplets = read(output)
    _, labels, ids = zip(*train, strict=True)
    expected = slow_repeats(
        labels,
        hash_ids(ids, 0).tolist(),
        TripletSettings(max_per_class=20, triplets_per_anchor=3),
    )
    anchors = Counter(triplet["anchor"][2] for triplet in triplets)
    assert anchors == Counter(dict(zip(ids, expected, strict=True))) + Counter()
    ones = labels.count(b"1")
    assert Counter(labels[ids.index(i)] for i in anchors) == {b"0": 20, b"1": ones, b"2": 20}
    assert output.get_int_custom_property("anchors") == 20 + ones + 20
    assert output.get_int_custom_property("triplets") == 3 * (20 + ones + 20)
    # The others are still positives and negatives.
    others = {i for _, _, i in images(output)} - set(anchors)
    assert others & {triplet["positive"][2] for triplet in triplets}
    assert others & {triplet["negative"][2] for triplet in triplets}
