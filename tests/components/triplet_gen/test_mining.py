"""Mined positives and negatives against a loop over all triples, alone and through the executor."""

from __future__ import annotations

import logging
from collections import Counter

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st
from tfx.utils import path_utils

from components.triplet_gen.hashes import hash_ids
from components.triplet_gen.mining import farthest_positives, mine_negatives
from modules.contract import ROLES
from tests.components.triplet_gen.triplet_models import brightest_blocks, model_artifact
from tests.components.triplet_gen.triplet_node import check, contents, make, read
from tests.real_data import digits, examples_artifact


def first(candidates, key):
    """The first row with the least key; None without candidates."""
    return min(candidates, key=lambda row: (key(row), row), default=None)


def slow_positive(similarity, codes, anchor):
    rows = [row for row, code in enumerate(codes) if code == codes[anchor] and row != anchor]
    return first(rows, lambda row: similarity[anchor][row])


def slow_negative(similarity, codes, anchor, positive, strategy):
    rows = [row for row, code in enumerate(codes) if code != codes[anchor]]
    if strategy == "hard":
        return first(rows, lambda row: -similarity[anchor][row])
    farther = [row for row in rows if similarity[anchor][row] < similarity[anchor][positive]]
    nearest = first(farther, lambda row: -similarity[anchor][row])
    farthest = first(rows, lambda row: similarity[anchor][row])
    return farthest if nearest is None else nearest


@st.composite
def buckets(draw):
    """Classes with a positive and a negative, and vectors whose products float32 holds exactly."""
    codes = draw(st.lists(st.integers(0, 3), min_size=4, max_size=14).filter(has_triplets))
    vectors = st.lists(st.integers(-2, 2), min_size=3, max_size=3)
    return np.array(codes), np.array([draw(vectors) for _ in codes], np.float32)


def has_triplets(codes) -> bool:
    sizes = Counter(codes)
    return len(sizes) > 1 and max(sizes.values()) > 1


@settings(deadline=None, max_examples=150)
@given(buckets(), st.sampled_from(["semi_hard", "hard"]), st.integers(1, 60))
def test_mining_as_the_triple_loop(bucket, strategy, block_values):
    codes, embeddings = bucket
    similarity = embeddings.astype(int) @ embeddings.astype(int).T
    rows = range(len(codes))
    pairs = [(a, p) for a in rows for p in rows if a != p and codes[a] == codes[p]]
    anchor, positive = np.array(pairs).T
    found = mine_negatives(embeddings, codes, anchor, positive, strategy, block_values)
    triples = set(zip(anchor.tolist(), positive.tolist(), found.tolist(), strict=True))
    assert triples == {(a, p, slow_negative(similarity, codes, a, p, strategy)) for a, p in pairs}

    found = farthest_positives(embeddings, codes, anchor, block_values)
    expected = [slow_positive(similarity, codes, a) for a in anchor]
    assert found.tolist() == expected


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32), st.sampled_from(["semi_hard", "hard"]))
def test_mining_of_unit_vectors(seed, strategy):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(30, 8)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    codes = np.repeat(np.arange(6), 5)
    anchor = rng.integers(0, 30, 40)
    positive = farthest_positives(embeddings, codes, anchor)
    negative = mine_negatives(embeddings, codes, anchor, positive, strategy)
    distance = ((embeddings[:, None].astype(float) - embeddings) ** 2).sum(axis=2)
    assert positive.tolist() == [slow_positive(-distance, codes, a) for a in anchor]
    assert negative.tolist() == [
        slow_negative(-distance, codes, a, p, strategy)
        for a, p in zip(anchor, positive, strict=True)
    ]


def test_impossible_anchors_are_refused():
    embeddings = np.eye(3, dtype=np.float32)
    with pytest.raises(ValueError, match="no positive"):
        farthest_positives(embeddings, np.array([1, 2, 2]), np.array([0]))
    with pytest.raises(ValueError, match="no negative"):
        mine_negatives(embeddings, np.array([1, 1, 1]), np.array([0]), np.array([1]), "hard")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_artifact(tmp_path_factory.mktemp("model"))


@pytest.mark.parametrize(
    ("strategy", "positives", "per_anchor"),
    [("semi_hard", "random", 3), ("hard", "random", 2), ("semi_hard", "hard", 1)],
)
def test_the_node_mines_in_its_bucket(tmp_path, model, strategy, positives, per_anchor):
    rows = digits(40, classes=range(8)) + digits(1, classes=[8])
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    chosen = {"strategy": strategy, "positives": positives, "triplets_per_anchor": per_anchor}
    output = make(tmp_path / "out", examples, models=[model], **chosen)
    rows = check(output, rows, per_anchor)
    names = ("strategy", "sampled_by", "positives", "positives_sampled_by")
    recorded = [output.get_string_custom_property(name) for name in names]
    assert recorded == [strategy, strategy, positives, positives]

    # All rows are in one bucket, in the order of the digests of their ids.
    order = hash_ids([row[2] for row in rows], 0)[:, 0]
    assert order.tolist() == sorted(order.tolist())
    place = {row[2]: number for number, row in enumerate(rows)}
    codes = [label for _, label, _ in rows]
    blocks = [brightest_blocks(image) for image, _, _ in rows]
    shared = [[len(a & b) for b in blocks] for a in blocks]
    for triplet in read(output):
        anchor, positive, negative = (place[triplet[role][2]] for role in ROLES)
        assert negative == slow_negative(shared, codes, anchor, positive, strategy)
        if positives == "hard":
            assert positive == slow_positive(shared, codes, anchor)


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
    make(tmp_path / "out", examples, workers, [model], strategy="hard", bucket_size=60)
    assert len(list((tmp_path / "out" / "Split-train").iterdir())) > 4
    assert loaded == [path_utils.serving_model_path(model.uri)]


def test_without_a_model_the_triplets_are_random(tmp_path, caplog):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(10)})
    with caplog.at_level(logging.WARNING, "absl"):
        mined = make(tmp_path / "mined", examples, strategy="semi_hard", positives="hard")
    (line,) = [text for text in caplog.messages if "no model yet to mine with" in text]
    assert "strategy semi_hard, positives hard" in line
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
    message = rf"{tmp_path}/model/.* has the signatures serving_default, but mining needs 'images'"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, models=[other], strategy="hard")
