"""What is held out: the plan against the rule image by image, and through the executor."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings, strategies as st

from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.ranks import Ranks
from components.triplet_gen.statistics import InputStats
from components.triplet_gen.validation import ValidationPlan, feasible
from modules.settings import TripletSettings
from tests.components.triplet_gen.triplet_node import check, contents, images, make
from tests.real_data import digits, examples_artifact


def slow_plan(labels, ranks, by, chosen) -> set[int]:
    """Numbers of the images that are held out, by the words of the docstring."""
    key = hashlib.blake2b(repr((chosen.seed, "validation")).encode(), digest_size=16).digest()
    hashes = {
        label: int.from_bytes(hashlib.blake2b(label, digest_size=8, key=key).digest())
        for label in set(labels)
    }
    of_class = {
        label: sorted((i for i, own in enumerate(labels) if own == label), key=ranks.__getitem__)
        for label in sorted(hashes, key=hashes.__getitem__)
    }
    fraction = min(chosen.validation_fraction, chosen.validation_images / len(labels))
    below = int(fraction * 2.0**64)
    if by == "classes":
        usable = [own for own in of_class.values() if len(own) >= 2]
        held: list[int] = []
        for number, own in enumerate(usable[:-2]):
            if number < 1 or len(held) < fraction * len(labels):
                held += own
        return set(held)
    chosen_of = {}
    for label, own in of_class.items():
        together = min(4, len(own) // 2)
        if together < 2:
            continue
        if fraction * len(own) >= together:
            under = sum(ranks[i] < below for i in own)
            chosen_of[label] = own[: max(together, min(under, len(own) // 2))]
        elif Fraction(hashes[label], 2**64) < Fraction(fraction * len(own) / together):
            chosen_of[label] = own[:together]
    if len(chosen_of) < 2:
        for label in [label for label, own in of_class.items() if len(own) >= 4][:2]:
            chosen_of.setdefault(label, of_class[label][: min(4, len(of_class[label]) // 2)])
    return {i for own in chosen_of.values() for i in own}


SIZES = st.lists(st.integers(1, 60), min_size=2, max_size=12)
CHOSEN = st.builds(
    TripletSettings,
    validation=st.sampled_from(["auto", "images", "classes"]),
    validation_fraction=st.sampled_from([0.01, 0.1, 0.3, 0.5]),
    validation_images=st.sampled_from([2, 10, 2000]),
    seed=st.integers(0, 1000),
)


def stats_of(labels, ranks, chosen, files=1) -> InputStats:
    """As the node counts them, file by file."""
    stats, parts = InputStats(), []
    for number in range(files):
        part = InputStats(labels=Counter(labels[number::files]))
        own = Ranks(np.array(labels, object)[number::files], ranks[number::files])
        part.keep_ranks([own], [own], chosen)
        parts.append(part)
    stats.merge(parts, chosen)
    return stats


@settings(deadline=None, max_examples=300)
@given(SIZES, CHOSEN, st.sampled_from([set(), {b"0", b"x"}, {b"x"}]), st.integers(1, 4))
def test_the_plan_as_the_slow_rule(sizes, chosen, eval_labels, files):
    assume(feasible(dict(enumerate(sizes))))
    labels = [b"%d" % label for label, size in enumerate(sizes) for _ in range(size)]
    ranks = hash_ids([b"%d" % i for i in range(len(labels))], chosen.seed)[:, 2]
    stats = stats_of(labels, ranks, chosen, files)
    stats.eval_labels = eval_labels
    plan = stats.validation_plan(chosen)

    wanted = chosen.validation
    if wanted == "auto":
        wanted = "classes" if eval_labels == {b"x"} else "images"
    possible = {"images": sum(n > 3 for n in sizes) > 1, "classes": sum(n > 1 for n in sizes) > 2}
    assert plan.by == (wanted if possible[wanted] else ({*possible} - {wanted}).pop())

    codes = np.array([sorted({*labels}).index(label) for label in labels])
    held = plan.is_held_out(codes, ranks)
    assert set(np.flatnonzero(held)) == slow_plan(labels, ranks.tolist(), plan.by, chosen)
    counts = Counter(np.array(labels, object)[held].tolist())
    assert plan.validation == {label: counts[label] for label in set(labels)}
    assert plan.train == {label: n - counts[label] for label, n in Counter(labels).items()}
    # One class can be found among others, two can be told apart, and two can train.
    assert sum(n > 1 for n in plan.validation.values()) >= (1 if plan.by == "classes" else 2)
    assert sum(n > 1 for n in plan.train.values()) >= 2
    assert 1 not in plan.validation.values()
    if plan.by == "images":
        assert all(n > 1 for label, n in plan.train.items() if plan.validation[label])


def test_small_classes_are_held_out_as_often_as_large_ones():
    """Of 3,000 classes each size gives about a tenth, in groups of two to four."""
    sizes = [4, 6, 8, 15, 30, 60] * 500
    counts = {b"%d" % i: n for i, n in enumerate(sizes)}
    labels = [label for label, n in counts.items() for _ in range(n)]
    ranks = hash_ids([b"%d" % i for i in range(len(labels))], 0)[:, 2]
    chosen = TripletSettings(validation_images=10**6)
    plan = stats_of(labels, ranks, chosen).validation_plan(chosen)
    for size in set(sizes):
        held = [plan.validation[label] for label, n in counts.items() if n == size]
        assert 0.07 < sum(held) / (500 * size) < 0.13
        assert {min(4, size // 2)} == {n for n in held if n} or size == 60
    few = TripletSettings(validation_images=600)
    held = sum(stats_of(labels, ranks, few).validation_plan(few).validation.values())
    assert abs(held - 600) < 120


def test_files_of_which_nothing_is_held_out(tmp_path):
    """Eight images are held out of 16 files, so most of them have none."""
    artifact = make(
        tmp_path / "out",
        examples_artifact(tmp_path / "in", {"train": digits(40)}, shards=16),
        seed=0, bucket_size=64, validation_images=2,
    )  # fmt: skip
    assert 4 <= len(images(artifact, "validation")) <= 8


def test_another_seed_holds_out_others():
    counts = {b"%d" % i: 20 for i in range(50)}
    plans = [
        ValidationPlan(counts, {}, {b"x"}, TripletSettings(seed=seed)).validation
        for seed in (0, 0, 1)
    ]
    assert plans[0] == plans[1] != plans[2]


@pytest.mark.parametrize(
    ("of_eval", "configured", "by"),
    [
        ([0, 1], {}, "images"),
        ([8, 9], {}, "classes"),
        ([7, 8], {}, "images"),  # one class of both splits
        ([8, 9], {"validation": "images"}, "images"),
        ([0, 1], {"validation": "classes"}, "classes"),
        ([], {}, "images"),
        (None, {}, "images"),
    ],
)
def test_the_node_holds_out_by_the_protocol(tmp_path, of_eval, configured, by):
    rows = digits(20, classes=range(8))
    splits = {"train": rows}
    if of_eval is not None:
        splits["eval"] = digits(5, start=100, classes=of_eval)
    examples = examples_artifact(tmp_path / "examples", splits)
    output = make(tmp_path / "out", examples, **configured)
    train, held = check(output, rows, 1), images(output, "validation")
    assert output.get_string_custom_property("validation_by") == by
    common = {label for _, label, _ in train} & {label for _, label, _ in held}
    assert bool(common) == (by == "images")
    assert output.get_int_custom_property("validation_images") == len(held)
    classes = len({label for _, label, _ in held})
    assert output.get_int_custom_property("validation_classes") == classes
    # 16 of 160 images, in groups of four; or a whole class.
    assert classes == 1 if by == "classes" else classes >= 2
    assert len(held) == (20 if by == "classes" else 4 * classes)


def test_too_few_classes_are_held_out_by_images(tmp_path, caplog):
    rows = digits(20, classes=range(2))
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, validation="classes")
    check(output, rows, 1)
    assert output.get_string_custom_property("validation_by") == "images"
    assert "held out by images, not by classes" in caplog.text


def test_images_of_the_eval_split_are_not_read(tmp_path):
    rows = digits(20)
    splits = {"train": rows, "eval": digits(2, start=100)}
    examples = examples_artifact(tmp_path / "examples", splits, shards=1)
    (path,) = (tmp_path / "examples" / "Split-eval").iterdir()
    only_labels = tf.train.Example()
    only_labels.features.feature["label"].bytes_list.value.append(b"unknown")
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        writer.write(only_labels.SerializeToString())
    output = make(tmp_path / "out", examples)
    assert output.get_string_custom_property("validation_by") == "classes"
    check(output, rows)


def test_the_validation_does_not_depend_on_files(tmp_path):
    rows = digits(30)
    examples = examples_artifact(tmp_path / "a", {"train": rows}, shards=1)
    one = contents(make(tmp_path / "one", examples, bucket_size=10))
    shuffled = random.Random(0).sample(rows, len(rows))
    examples = examples_artifact(tmp_path / "b", {"train": shuffled}, shards=5)
    again = contents(make(tmp_path / "again", examples, bucket_size=10))
    files = [name for name in one if name.startswith("Split-validation/")]
    assert len(files) > 1
    assert {name: one[name] for name in files} == {name: again[name] for name in files}
