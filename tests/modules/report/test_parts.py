"""The parts of a report against what their definitions say."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from hypothesis import given, strategies as st
from PIL import Image
from sklearn.metrics import roc_auc_score

from modules.images import small_webp
from modules.report import embedding_map, pictures as report_pictures
from modules.report.charts import Line, Mark, line_chart, ticks
from modules.report.choosing import choose, find_confusions
from modules.report.embedding_map import draw_map
from modules.report.pair_distances import pair_distances
from modules.report.pictures import fit_pictures, most_bytes
from modules.retrieval import KeptQueries
from tests.real_data import png


def kept(labels: bytes, neighbours: list[list[int]], quality: list[float]) -> KeptQueries:
    """Queries b"0", b"1", … whose neighbours are other queries, nearest first, 0.1 apart."""
    names = np.array([bytes([one]) for one in labels], object)
    ids = np.array([b"%d" % i for i in range(len(labels))], object)
    near = np.array(neighbours)
    return KeptQueries(
        ids,
        names,
        np.eye(len(labels), dtype=np.float32),
        ids[near],
        np.tile(np.arange(1, near.shape[1] + 1) / 10, (len(labels), 1)).astype(np.float32),
        names[near] == names[:, None],
        {"candidate": {"map@r": np.array(quality, np.float32)}},
    )


def test_the_worst_errors_come_first_and_what_has_no_match_never() -> None:
    # c is alone: it has no score, and is no error. 0 and 2 are wrong; 2 finds less.
    queries = kept(b"aabbc", [[2, 1], [0, 2], [0, 3], [2, 0], [0, 1]],
                   [0.5, 1, 0.25, 1, float("nan")])  # fmt: skip
    chosen = choose(queries, map_images=3)
    assert chosen.worst.tolist() == [2, 0]
    assert chosen.wrong == 2
    assert chosen.random.tolist() == [0, 1, 2, 3, 4]
    assert chosen.classes.tolist() == [0, 2, 4]
    assert chosen.mapped.tolist() == [0, 1, 2]
    assert sorted(chosen.ids) == [b"0", b"1", b"2", b"3", b"4"]


def test_confusions_are_counted_by_class() -> None:
    queries = kept(b"aaabb", [[3, 1], [4, 0], [0, 1], [0, 4], [3, 0]], [0.5] * 5)
    labels = dict(zip(queries.ids, queries.labels, strict=True))
    first, second = find_confusions(queries, labels)
    assert (first.label, first.taken_for, first.queries, first.share) == (b"a", b"b", 2, 2 / 3)
    assert first.examples == [0, 1]
    assert (second.label, second.taken_for, second.queries, second.share) == (b"b", b"a", 1, 1 / 2)


def test_pairs_equal_a_loop_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(18, 3)).astype(np.float32)
    labels = np.array([b"abc"[i % 3 : i % 3 + 1] for i in range(18)], object)
    found = pair_distances(rows, labels)
    pairs = [
        (float(((rows[i].astype(float) - rows[j]) ** 2).sum()), labels[i] == labels[j])
        for i, j in itertools.combinations(range(18), 2)
    ]
    squared, same = (np.array(column) for column in zip(*pairs, strict=True))
    assert (found.same.sum(), found.different.sum()) == (same.sum(), (~same).sum())
    np.testing.assert_array_equal(found.same, np.histogram(squared[same], found.edges)[0])
    for false, true in zip(found.false_accepts[::7], found.true_accepts[::7], strict=True):
        # Some threshold has just these two rates.
        rates = [((squared[~same] <= t).mean(), (squared[same] <= t).mean()) for t in squared]
        assert min(abs(f - false) + abs(t - true) for f, t in rates) < 1e-12
    area = np.trapezoid([0, *found.true_accepts], [0, *found.false_accepts])
    assert area == pytest.approx(roc_auc_score(same, -squared), abs=0.01)  # points were left out
    assert pair_distances(rows, np.array([b"a"] * 18, object)) is None


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6), st.integers(2, 8))
def test_ticks_are_few_round_and_inside(low: float, span: float, most: int) -> None:
    high = low + span
    found = ticks(low, high, most)
    assert len(found) <= most + 2
    assert all(low - span * 1e-6 <= one <= high + span * 1e-6 for one in found)
    steps = {round(b - a, 6) for a, b in itertools.pairwise(found)}
    assert len(steps) <= 2  # one, but for rounding


def test_texts_of_charts_are_escaped_and_gaps_are_left_out() -> None:
    nan = float("nan")
    chart = line_chart(
        [Line("<b>", [1, 2, 3], [0.5, nan, 1.0], dots=True)], title='"<u>', x_label="<k>",
        marks=[Mark(2, "<m>")],
    )  # fmt: skip
    assert chart.count("<circle") == 2
    for text in ("<b>", "<u>", "<k>", "<m>", '""'):
        assert text not in chart
    assert "Nothing to draw" in line_chart([Line("x", [1], [nan])], title="", x_label="")


def noise(seed: int, side: int) -> bytes:
    """What no compression makes small."""
    return png(np.random.default_rng(seed).integers(0, 256, (side, side, 3)).astype(np.uint8))


def test_pictures_keep_to_their_bytes(monkeypatch) -> None:
    monkeypatch.setattr(report_pictures, "_OF_THOUSAND", 20_000)
    large = {b"%d" % i: small_webp(noise(i, 96), 96, 60) for i in range(8)}
    assert sum(map(len, large.values())) > most_bytes(len(large))
    found = fit_pictures(large)
    assert found.keys() == large.keys()
    assert sum(map(len, found.values())) <= most_bytes(len(large))
    # Small ones are left as they are.
    digits = {b"1": small_webp(noise(1, 28), 96, 60)}
    assert fit_pictures(digits) == digits
    assert Image.open(io.BytesIO(digits[b"1"])).size == (28, 28)


def test_a_map_keeps_neighbours_together_and_is_the_same_again() -> None:
    rng = np.random.default_rng(0)
    centres = 10 * np.eye(60, dtype=np.float32)[:3]
    classes = np.arange(60) % 3
    rows = centres[classes] + rng.normal(0, 0.1, (60, 60)).astype(np.float32)
    points = draw_map(rows)
    assert points.shape == (60, 2)
    assert (points.min(), points.max()) == (0, 1)
    apart = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (classes[apart.argmin(axis=1)] == classes).all()
    np.testing.assert_array_equal(points, draw_map(rows))


def test_of_more_points_the_rest_is_put_between_the_first(monkeypatch) -> None:
    monkeypatch.setattr(embedding_map, "FITTED", 60)
    rng = np.random.default_rng(0)
    classes = np.arange(80) % 3
    centres = 10 * np.eye(60, dtype=np.float32)[:3]
    rows = centres[classes] + rng.normal(0, 0.1, (80, 60)).astype(np.float32)
    points = draw_map(rows)
    assert points.shape == (80, 2)
    for row in range(60, 80):
        near = np.argsort(((rows[:60] - rows[row]) ** 2).sum(axis=1))[:5]
        expected = np.median(points[near], axis=0)
        np.testing.assert_allclose(points[row], expected, atol=1e-6)
