"""A new model beside the last blessed one, through the real executor, against plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.evaluator.compatibility import prepare_comparison
from modules.compatibility import judge_compatibility, read_map
from modules.contract import make_example
from modules.settings import CompatibilitySettings
from tests.components.evaluator.compared_models import SIDE, Outcome, embed, evaluate, linear_model
from tests.real_data import digits, examples_artifact
from tests.retrieval_oracle import Rows, brute_force, neighbours_in

# 6 of most classes, and one nine that has no positive.
ROWS = [*digits(6, classes=range(9)), *digits(1, classes=[9])]
TRAIN = digits(12, start=100)
LOGGED = digits(2, start=200)
PIXELS = SIDE * SIDE
OLD = np.eye(PIXELS)
# Nearly the same: three pixels count twice.
NEAR = np.diag(np.where(np.isin(np.arange(PIXELS), (24, 25, 31)), 2, 1))
# The same distances in other coordinates: the pixels in another order.
TURNED = np.eye(PIXELS)[np.random.default_rng(7).permutation(PIXELS)]
SMALLER = np.eye(PIXELS)[:, ::2]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    matrices = {"old": OLD, "near": NEAR, "turned": TURNED, "smaller": SMALLER}
    return {
        name: linear_model(tmp_path_factory.mktemp(name), matrix)
        for name, matrix in matrices.items()
    }


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return examples_artifact(tmp_path_factory.mktemp("examples"), {"train": TRAIN, "eval": ROWS})


@pytest.fixture(scope="module")
def logged(tmp_path_factory) -> Path:
    """Images below a folder, TFRecords of two more, and what is no query."""
    folder = tmp_path_factory.mktemp("logged")
    (folder / "monday").mkdir()
    for number, row in enumerate(LOGGED[2:]):
        (folder / "monday" / f"{number:02d}.png").write_bytes(row[0])
    with tf.io.TFRecordWriter(str(folder / "queries.tfrecord")) as writer:
        for row in LOGGED[:2]:
            writer.write(make_example(row[0], b"?", b"the same id").SerializeToString())
    (folder / "broken.png").write_bytes(LOGGED[0][0][:40])
    (folder / ".hidden").write_text("not looked at")
    return folder


@pytest.fixture(scope="module")
def near(tmp_path_factory, examples, models, logged) -> Outcome:
    settings = {"queries": str(logged), "k": 5, "outside_quantile": 0.9}
    return evaluate(
        tmp_path_factory.mktemp("near"), examples, models["near"], models["old"],
        max_negative_flips=1.0, **settings,
    )  # fmt: skip


def scores(new: np.ndarray, old: np.ndarray) -> dict:
    _, labels, ids = zip(*ROWS, strict=True)
    return brute_force(ids, labels, new.tolist(), [1, 5], Rows(ids, labels, old.tolist()))


def expected_way(found: dict, own: dict) -> dict[str, float]:
    """P@1, MAP@R and flips of a way as loops over the queries that have a score."""
    queries = [one for one in own if own[one] is not None]
    before = [own[one]["precision@1"] for one in queries]
    now = [found[one]["precision@1"] for one in queries]
    pairs = list(zip(before, now, strict=True))
    return {
        "precision_at_1": sum(now) / len(queries),
        "map_at_r": sum(found[one]["map@r"] for one in queries) / len(queries),
        "negative_flips": sum(max(p - q, 0) for p, q in pairs) / len(queries),
        "positive_flips": sum(max(q - p, 0) for p, q in pairs) / len(queries),
    }


def test_queries_of_the_new_model_search_in_the_vectors_of_the_old_one(near) -> None:
    report = near.compatibility
    old, new = embed(ROWS, OLD), embed(ROWS, NEAR)
    own = scores(old, old)
    assert report.queries == len(ROWS) - 1  # the nine has no positive
    assert report.own.model_dump() == pytest.approx(expected_way(own, own))
    assert report.own.negative_flips == report.own.positive_flips == 0
    for verdict, found in (("keep", scores(new, old)), ("re_embed", scores(new, new))):
        way = report.ways[verdict]
        assert way.model_dump() == pytest.approx(expected_way(found, own))
        gained = way.positive_flips - way.negative_flips
        assert way.precision_at_1 - report.own.precision_at_1 == pytest.approx(gained)
    assert report.ways["keep"].negative_flips > 0  # else the test could not tell
    overall = near.report.metrics
    for model, way in (("baseline", report.own), ("candidate", report.ways["re_embed"])):
        assert overall[model]["overall"]["precision@1"] == pytest.approx(way.precision_at_1)
        assert overall[model]["overall"]["map@r"] == pytest.approx(way.map_at_r)


def test_logged_queries_are_compared(near) -> None:
    churn = near.churn
    gallery = [embed(ROWS, matrix) for matrix in (OLD, NEAR)]
    queries = [embed(LOGGED, matrix) for matrix in (OLD, NEAR)]
    _, labels, ids = zip(*ROWS, strict=True)
    nearest = [
        [neighbours_in(Rows(ids, labels, of.tolist()), None, q.tolist()) for q in by]
        for of, by in zip(gallery, queries, strict=True)
    ]
    pairs = list(zip(*nearest, strict=True))
    assert (churn.queries, churn.unusable, churn.k) == (len(LOGGED), 1, 5)
    assert churn.changed == sum(a[0] != b[0] for a, b in pairs) / len(LOGGED)
    overlaps = [len({*a[:5]} & {*b[:5]}) / 5 for a, b in pairs]
    assert churn.overlap == pytest.approx(sum(overlaps) / len(LOGGED))
    assert 0 < churn.overlap < 1
    for number, (limit, outside) in enumerate(
        [(churn.limit_before, churn.outside_before), (churn.limit, churn.outside)]
    ):
        of = gallery[number].astype(np.float64)
        apart = ((of[:, None] - of[None]) ** 2).sum(axis=2)
        np.fill_diagonal(apart, np.inf)
        own = sorted(apart.min(axis=1))
        assert limit == own[math.ceil(0.9 * len(own)) - 1]
        far = [
            ((of[rows[0]] - query) ** 2).sum() > limit
            for rows, query in zip(nearest[number], queries[number], strict=True)
        ]
        assert outside == sum(far) / len(LOGGED)
    assert 0 < churn.outside < 1


def test_what_is_kept_of_a_comparison(near) -> None:
    assert near.blessed
    evaluation = near.evaluation
    assert evaluation.get_string_custom_property("verdict") == near.compatibility.verdict
    for name, value in (
        ("cross precision@1", near.compatibility.ways["keep"].precision_at_1),
        ("negative flips", near.compatibility.ways["re_embed"].negative_flips),
        ("changed results", near.churn.changed),
    ):
        assert evaluation.get_float_custom_property(name) == value
    assert not Path(evaluation.uri, ".comparison").exists()
    names = {path.name for path in Path(near.blessing.uri, "compatibility").iterdir()}
    assert "compatibility.json" in names
    assert ("map.npy" in names) == (near.compatibility.verdict == "map")


def test_a_model_that_only_turns_its_space_is_mapped(tmp_path, examples, models) -> None:
    outcome = evaluate(tmp_path, examples, models["turned"], models["old"], require="map")
    report = outcome.compatibility
    old, new = embed(ROWS, OLD), embed(ROWS, TURNED)
    own = scores(old, old)
    assert report.ways["keep"].model_dump() == pytest.approx(expected_way(scores(new, old), own))
    assert report.ways["re_embed"] == report.own  # all distances are as they were
    assert (report.verdict, report.map_images) == ("map", len(TRAIN))
    assert outcome.blessed
    found = read_map(f"{outcome.blessing.uri}/compatibility/map.npy")
    np.testing.assert_allclose(found @ found.T, np.eye(PIXELS), atol=1e-5)
    # Pixels that are always dark say nothing; all others the map must put back into their place.
    np.testing.assert_allclose(embed(TRAIN, TURNED) @ found, embed(TRAIN, OLD), atol=1e-4)
    # The map has not seen every pixel lit: such a one may go anywhere, but it goes whole.
    mapped = np.round(new @ found)
    assert report.ways["map"].model_dump() == pytest.approx(expected_way(scores(mapped, old), own))
    assert report.ways["map"].precision_at_1 > report.ways["keep"].precision_at_1
    (refused,) = judge_compatibility(report, CompatibilitySettings(require="keep"))
    assert str(refused) == (
        f"compatibility (overall): the verdict is map, at most keep is allowed: {report.why}"
    )


def test_other_dimensions_are_embedded_anew(tmp_path, examples, models) -> None:
    """With metrics that do not have P@1: it is found by a search of its own."""
    outcome = evaluate(tmp_path, examples, models["smaller"], models["old"], ks=(5,))
    report = outcome.compatibility
    assert report.dimensions == [PIXELS, 25]
    assert report.why == "vectors of 49 and of 25 dimensions cannot be compared"
    assert report.verdict == "re_embed"
    old, new = embed(ROWS, OLD), embed(ROWS, SMALLER)
    own = scores(old, old)
    assert report.own.model_dump() == pytest.approx(expected_way(own, own))
    assert report.ways.keys() == {"re_embed"}
    expected = expected_way(scores(new, new), own)
    assert report.ways["re_embed"].model_dump() == pytest.approx(expected)
    assert [path.name for path in Path(outcome.blessing.uri, "compatibility").iterdir()] == [
        "compatibility.json"
    ]
    assert not outcome.evaluation.has_custom_property("cross precision@1")


def test_thresholds_refuse_a_model(tmp_path, examples, models, near) -> None:
    """The same model as before, and a log of which nothing can be used."""
    empty = tmp_path / "empty"
    empty.mkdir()
    flips = near.compatibility.ways["re_embed"].negative_flips
    outcome = evaluate(
        tmp_path, examples, models["near"], models["old"], ks=(5,),
        max_negative_flips=flips / 2, queries=str(empty), max_changed=0.5, min_overlap=0.5,
    )  # fmt: skip
    assert flips > 0
    assert outcome.compatibility.ways == near.compatibility.ways  # whatever ks are
    assert not outcome.blessed
    assert outcome.reason.splitlines() == [
        f"negative flips (overall): {flips:.4f} is above the limit {flips / 2:.4f} "
        f"(by {flips / 2:.4f})",
        "changed results (overall): there was nothing to measure it with",
        "overlap@10 (overall): there was nothing to measure it with",
    ]
    assert (outcome.churn.queries, outcome.churn.unusable) == (0, 0)


def test_a_first_model_is_compared_with_none(tmp_path, examples, models) -> None:
    inputs = {"examples": [examples], "model": [models["old"]]}
    asked = {"compatibility": '{"require": "keep", "queries": "nowhere", "max_changed": 0}'}
    assert prepare_comparison(inputs, str(tmp_path), asked) is None
    assert not list(tmp_path.iterdir())
