"""Mined positives and negatives against a loop over all triples, alone and through the executor."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from tfx.utils import path_utils

from components.data_audit import Audit
from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.mining import (
    farthest_positives,
    mine_negatives,
    squared_distances,
)
from components.triplet_gen.sampling import draw_triplets, have_triplets
from modules.audit import write_suspects
from modules.contract import ROLES
from modules.settings import TripletSettings
from tests.components.triplet_gen.triplet_models import brightest_blocks, model_artifact
from tests.components.triplet_gen.triplet_node import check, contents, make, read
from tests.real_data import digits, examples_artifact


def first(candidates, key):
    """The first row with the least key; None without candidates."""
    return min(candidates, key=lambda row: (key(row), row), default=None)


def slow_positive(similarity, codes, anchor):
    rows = [row for row, code in enumerate(codes) if code == codes[anchor] and row != anchor]
    return first(rows, lambda row: similarity[anchor][row])


def slow_negative(similarity, codes, anchor, positive, settings, turn=0, doubtful=()):
    """The negative, and whether a nearer one was left out; `doubtful`: rows that are none."""
    row, to_positive = similarity[anchor], similarity[anchor][positive]
    others = [n for n, code in enumerate(codes) if code != codes[anchor]]
    if settings.strategy == "semi_hard":
        wanted = [n for n in others if row[n] < to_positive]
    else:
        wanted = others
    ratio = settings.least_ratio**2  # of squared distances, 2 − 2 · similarity
    certain = [n for n in wanted if n not in doubtful]
    allowed = [n for n in certain if not ratio or 1 - row[n] >= ratio * (1 - to_positive)]
    left_out = len(allowed) < len(certain) or first(wanted, lambda n: -row[n]) in doubtful
    if not allowed:
        return first(others, lambda n: row[n]), left_out
    allowed.sort(key=lambda n: (-row[n], n))
    last = min(settings.skip_nearest + settings.nearest, len(allowed))
    window = allowed[max(0, last - settings.nearest) : last]
    return window[turn % len(window)], left_out or window[0] != allowed[0]


def mined(**values) -> TripletSettings:
    return TripletSettings(**{"triplets_per_anchor": 1} | values)


SETTINGS = st.one_of(
    st.builds(
        mined,
        strategy=st.just(strategy),
        skip_nearest=st.integers(0, 5),
        nearest=st.integers(1, 5),
        least_ratio=st.sampled_from(ratios),
    )
    for strategy, ratios in (("hard", [0.0, 0.5, 1.0, 1.5]), ("semi_hard", [0.0, 1.5, 2.0]))
)


@st.composite
def buckets(draw):
    """Classes with a positive and a negative, and vectors whose products float32 holds exactly."""
    codes = draw(st.lists(st.integers(0, 3), min_size=4, max_size=14).filter(has_triplets))
    vectors = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    return np.array(codes), np.array([draw(vectors) for _ in codes], np.float32)


def has_triplets(codes) -> bool:
    sizes = Counter(codes)
    return len(sizes) > 1 and max(sizes.values()) > 1


@settings(deadline=None, max_examples=300)
@given(buckets(), SETTINGS, st.integers(0, 2**32), st.integers(1, 60), st.sets(st.integers(0, 13)))
def test_mining_as_the_triple_loop(bucket, chosen, seed, block_values, doubtful):
    codes, embeddings = bucket
    similarity = embeddings.astype(int) @ embeddings.astype(int).T
    rows = range(len(codes))
    pairs = [(a, p) for a in rows for p in rows if a != p and codes[a] == codes[p]]
    anchor, positive = np.array(pairs).T
    turn = np.random.default_rng(seed).integers(0, 10, len(pairs))
    found, left_out = mine_negatives(
        embeddings, codes, anchor, positive, turn, chosen, block_values,
        doubtful=np.isin(rows, list(doubtful)),
    )  # fmt: skip
    assert list(zip(found.tolist(), left_out.tolist(), strict=True)) == [
        slow_negative(similarity, codes, a, p, chosen, t, doubtful)
        for (a, p), t in zip(pairs, turn.tolist(), strict=True)
    ]

    found = farthest_positives(embeddings, codes, anchor, block_values)
    expected = [slow_positive(similarity, codes, a) for a in anchor]
    assert found.tolist() == expected


@settings(deadline=None, max_examples=100)
@given(st.integers(0, 2**32), SETTINGS)
def test_mining_of_unit_vectors(seed, chosen):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(30, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    codes = np.repeat(np.arange(6), 5)
    anchor, turn = rng.integers(0, 30, 40), rng.integers(0, 9, 40)
    positive = farthest_positives(embeddings, codes, anchor)
    negative, left_out = mine_negatives(embeddings, codes, anchor, positive, turn, chosen)
    distance = ((embeddings[:, None].astype(float) - embeddings) ** 2).sum(axis=2)
    similarity = 1 - distance / 2
    assert positive.tolist() == [slow_positive(similarity, codes, a) for a in anchor]
    assert list(zip(negative.tolist(), left_out.tolist(), strict=True)) == [
        slow_negative(similarity, codes, a, p, chosen, t)
        for a, p, t in zip(anchor, positive, turn, strict=True)
    ]
    found = squared_distances(embeddings, anchor, negative)
    assert np.abs(found / 2**20 - distance[anchor, negative]).max() < 1e-5


@settings(deadline=None, max_examples=100)
@given(buckets(), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**32))
def test_negatives_of_an_anchor_differ(bucket, per_anchor, skip, seed):
    """With one positive an anchor has as many negatives as it has triplets, if there are enough."""
    codes, embeddings = bucket
    chosen = TripletSettings(
        strategy="hard",
        positives="hard",
        triplets_per_anchor=per_anchor,
        nearest=per_anchor,
        skip_nearest=skip,
    )
    repeats = per_anchor * have_triplets(codes, len(codes))
    found, _ = draw_triplets(codes, repeats, np.random.default_rng(seed), chosen, embeddings)
    for anchor in set(found.anchor.tolist()):
        negatives = found.negative[found.anchor == anchor]
        assert len(set(negatives)) == min(per_anchor, np.count_nonzero(codes != codes[anchor]))


def test_impossible_anchors_are_refused():
    embeddings = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="no positive"):
        farthest_positives(embeddings, np.array([1, 2, 2]), np.array([0]))
    codes, zero = np.array([1, 1, 1]), np.array([0])
    with pytest.raises(ValueError, match="no negative"):
        mine_negatives(embeddings, codes, zero, np.array([1]), zero, mined(strategy="hard"))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_artifact(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    "configured",
    [
        {"strategy": "semi_hard", "triplets_per_anchor": 3},
        {"strategy": "hard", "triplets_per_anchor": 2, "least_ratio": 0.5},
        {"strategy": "semi_hard", "positives": "hard"},
        {"strategy": "hard", "positives": "hard", "triplets_per_anchor": 2, "nearest": 2},
        {"strategy": "hard", "skip_nearest": 7, "nearest": 3, "triplets_per_anchor": 3},
    ],
)
def test_the_node_mines_in_its_bucket(tmp_path, model, configured):
    rows = digits(40, classes=range(8)) + digits(1, classes=[8])
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, models=[model], **configured)
    chosen = mined(**configured)
    rows = check(output, rows, chosen.triplets_per_anchor)
    names = ("strategy", "sampled_by", "positives", "positives_sampled_by")
    recorded = [output.get_string_custom_property(name) for name in names]
    assert recorded == [chosen.strategy] * 2 + [chosen.positives] * 2

    # All rows are in one bucket, in the order of the digests of their ids.
    order = hash_ids([row[2] for row in rows], 0)[:, 0]
    assert order.tolist() == sorted(order.tolist())
    place = {row[2]: number for number, row in enumerate(rows)}
    codes = [label for _, label, _ in rows]
    blocks = [brightest_blocks(image) for image, _, _ in rows]
    similarity = [[len(a & b) / 4 for b in blocks] for a in blocks]
    numbers = Counter()
    sums = Counter()
    hard_anchors = set()
    for triplet in read(output):
        anchor, positive, negative = (place[triplet[role][2]] for role in ROLES)
        allowed = {
            slow_negative(similarity, codes, anchor, positive, chosen, turn)
            for turn in range(chosen.nearest)
        }
        (left_out,) = {left_out for n, left_out in allowed if n == negative}
        if chosen.positives == "hard":
            assert positive == slow_positive(similarity, codes, anchor)
        is_hard = similarity[anchor][negative] > similarity[anchor][positive]
        numbers += Counter(hard_negatives=is_hard, left_out_negatives=left_out)
        hard_anchors |= {anchor} if is_hard else set()
        sums["mean_d_ap"] += 2 - 2 * similarity[anchor][positive]
        sums["mean_d_an"] += 2 - 2 * similarity[anchor][negative]
    numbers["anchors_with_hard_negative"] = len(hard_anchors)
    for name in ("hard_negatives", "anchors_with_hard_negative", "left_out_negatives"):
        assert output.get_int_custom_property(name) == numbers[name]
    for name, value in sums.items():
        expected = pytest.approx(value / len(read(output)), abs=1e-6)
        assert output.get_float_custom_property(name) == expected


def test_hard_positives_with_random_negatives(tmp_path, model):
    rows = digits(10)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    chosen = {"positives": "hard", "triplets_per_anchor": 4}
    output = make(tmp_path / "out", examples, models=[model], **chosen)
    train = check(output, rows, 4)
    triplets = read(output)
    assert len({(t["anchor"], t["positive"]) for t in triplets}) == len(train)
    # Of about 80 each, with repeats.
    assert len({(t["anchor"], t["negative"]) for t in triplets}) > 3.5 * len(train)


@pytest.mark.parametrize(
    "workers",
    [[], ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]],
    ids=["one worker", "four threads"],
)
def test_a_process_loads_the_model_once(tmp_path, model, monkeypatch, workers):
    loaded, load = [], tf.saved_model.load
    monkeypatch.setattr(tf.saved_model, "load", lambda path: loaded.append(path) or load(path))
    examples = examples_artifact(tmp_path / "examples", {"train": digits(60)}, shards=4)
    chosen = {"strategy": "hard", "buckets": "neighbourhood", "bucket_size": 60}
    make(tmp_path / "out", examples, workers, [model], **chosen)
    assert len(list((tmp_path / "out" / "Split-train").iterdir())) > 4
    assert loaded == [path_utils.serving_model_path(model.uri)]


def test_without_a_model_the_triplets_are_random(tmp_path, caplog):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(10)})
    with caplog.at_level(logging.WARNING, "absl"):
        mined = make(tmp_path / "mined", examples, strategy="semi_hard", positives="hard")
    (line,) = [text for text in caplog.messages if "no model yet to mine with" in text]
    assert "strategy semi_hard, positives hard, buckets hash" in line
    assert "sampled at random" in line
    random = make(tmp_path / "random", examples)
    assert mined.get_string_custom_property("strategy") == "semi_hard"
    assert mined.get_string_custom_property("positives") == "hard"
    assert mined.get_string_custom_property("sampled_by") == "random"
    assert mined.get_string_custom_property("positives_sampled_by") == "random"
    shards = [{k: v for k, v in contents(o).items() if "Split-" in k} for o in (mined, random)]
    assert shards[0] == shards[1] != {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_embeddings_that_are_not_finite_are_an_error(tmp_path, value):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(2)})
    broken = model_artifact(tmp_path / "model", value)
    message = (
        rf"split 'train' .*the model {tmp_path}/model/.* no usable embedding of some images "
        r"\(\d+\), such as 'digit/\d{4}': not finite\. .*strategy = 'random'"
    )
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, models=[broken], strategy="hard")
    assert not (tmp_path / "out" / "triplets.json").exists()


def test_an_image_that_cannot_be_decoded_is_an_error(tmp_path, model):
    rows = [*digits(30), (b"no image", b"3", b"broken/7")]
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    message = r"images \(1\), such as 'broken/7': Unknown image file format\. .*\. Repair the"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, models=[model], strategy="semi_hard")


def test_a_model_without_the_signature_is_an_error(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(2)})
    other = model_artifact(tmp_path / "model", signature="serving_default")
    message = rf"{tmp_path}/model/.* has the signatures serving_default, but 'images' is needed"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, models=[other], strategy="hard")


@pytest.mark.parametrize("suspects", ["leave_out", "keep"])
def test_suspects_are_no_mined_negatives(tmp_path, model, suspects):
    rows = digits(12, classes=range(4))
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    doubted = {example_id for _, label, example_id in rows if label == b"1"}
    audit = Audit()
    audit.uri = str(tmp_path / "audit")
    write_suspects(audit.uri, [one.decode() for one in doubted])
    configured = {"strategy": "hard", "suspects": suspects}
    output = make(tmp_path / "out", examples, models=[model], audits=[audit], **configured)
    triplets = read(output)
    negatives = {triplet["negative"][2] for triplet in triplets}
    assert bool(negatives & doubted) is (suspects == "keep")
    for role in ("anchor", "positive"):
        assert {triplet[role][2] for triplet in triplets} & doubted
