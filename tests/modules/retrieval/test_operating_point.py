"""The operating point against all pairs, one by one: threshold, counts and resampled rates."""

from __future__ import annotations

from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.testing.util import assert_that
from hypothesis import assume, example, given, settings, strategies as st

from modules.retrieval import pair_bootstrap
from modules.retrieval.accept_counts import UNITS, AcceptCounters, AcceptTables, units_of
from modules.retrieval.operating_threshold import find_grid
from modules.retrieval.pair_counts import count_block_pairs
from modules.retrieval.rows import LabelledRows
from modules.retrieval.scores import score_block
from modules.retrieval.sets import MeasureSet
from modules.retrieval.transforms import ScoreQueries
from modules.retrieval.verification import add_pairs, new_histogram
from tests.grouped_sets import make_block, sets
from tests.real_data import BEAM_ARGS
from tests.retrieval_oracle import Rows, labelled_pairs

RESOLUTION = 2**-11
KS = [1]


def grid_of(impostors, rate: float):
    histogram = new_histogram()
    distances = np.array(impostors, np.float32)
    add_pairs(histogram, distances, np.zeros(distances.shape, bool))
    return find_grid(histogram, rate)


def threshold_of(impostors, rate: float) -> float:
    grid = grid_of(impostors, rate)
    return float(grid.edges[grid.chosen])


def exact_threshold(impostors: list[float], rate: float) -> float:
    """The largest t with FAR(t) ≤ rate, by trying every distance there is."""
    found = [
        t for t in sorted(set(impostors))
        if sum(d < t for d in impostors) / len(impostors) <= rate
    ]  # fmt: skip
    return found[-1]


@settings(deadline=None)
@example([1.0] * 99 + [0.5], 0.01)  # 1 of 100 is a rate of 0.01: it is accepted
@example([0.5] * 2 + [1.0] * 98, 0.01)  # a tie of two: neither is
@example([0.0] * 10, 0.5)
@given(
    st.lists(st.floats(0, 4, width=32), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.29, 0.5, 0.9]),
)
def test_the_rate_is_never_exceeded_and_the_threshold_is_the_largest(impostors, rate):
    impostors = [float(d) for d in np.array(impostors, np.float32)]
    found, exact = threshold_of(impostors, rate), exact_threshold(impostors, rate)
    assert sum(d < found for d in impostors) / len(impostors) <= rate
    assert found <= exact
    if exact > 1e-37:  # below, bins are not relative to the distance
        assert exact < found * (1 + RESOLUTION)


def test_an_order_statistic_by_hand():
    # 10 pairs of two classes. At a rate of 0.2 two may be accepted: the threshold is the third
    # distance, and the pair at 3 itself is not below it.
    assert threshold_of([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], 0.2) == 3
    assert threshold_of([1, 2, 2, 4, 5, 6, 7, 8, 9, 10], 0.2) == 2  # both of the tie would be 0.3
    assert threshold_of([0, 0, 0], 0.5) == 0
    assert threshold_of([], 0.5) == 0


@settings(deadline=None, max_examples=20)
@given(st.lists(st.floats(0, 4, width=32), min_size=1, max_size=40), st.floats(0.001, 0.99))
def test_the_grid_ascends_around_the_operating_point(impostors, rate):
    grid = grid_of(impostors, rate)
    assert (np.diff(grid.edges) > 0).all()
    assert float(grid.edges[0]) == threshold_of(impostors, rate / 16)
    assert float(grid.edges[-1]) == threshold_of(impostors, min(32 * rate, 1 - 1e-9))


@settings(deadline=None, max_examples=40)
@given(sets(), st.booleans(), st.integers(1, 17), st.sampled_from([0.05, 0.3, 0.7]))
def test_counts_equal_all_pairs_one_by_one(found, two_sets, size, rate):
    (queries, columns), other = found
    gallery, gallery_columns = other if two_sets else found[0]
    block, shards = make_block(queries, columns, gallery, gallery_columns, size)
    grid = find_grid(count_block_pairs(block, shards)[""], rate)
    units = units_of(block.classes, np.array(queries.labels, object))
    result = score_block(
        block, shards, KS, count_pairs=lambda model: AcceptCounters(grid, units)
    )[""]  # fmt: skip
    tables = result.pairs
    assert isinstance(tables, AcceptTables)

    pairs = list(labelled_pairs(queries, gallery, columns, gallery_columns))
    label_of = dict(zip(gallery.ids, gallery.labels, strict=True))
    threshold = float(grid.edges[grid.chosen])
    counts = {
        query: [
            sum(q == query and (a == b) == same and (not accepted or d < threshold)
                for q, a, b, d in pairs)
            for accepted in (False, True) for same in (True, False)
        ]
        for query in queries.ids
    }  # fmt: skip
    assert dict(zip(queries.ids, result.accepts.tolist(), strict=True)) == counts
    unit = dict(zip(queries.labels, units.tolist(), strict=True))
    unit |= {label_of[i]: int(c % UNITS) for shard in shards
             for i, c in zip(shard.ids, shard.classes, strict=True)}  # fmt: skip
    impostors, genuine = np.zeros((UNITS, UNITS), int), np.zeros(UNITS, int)
    impostor_steps, genuine_steps = (
        np.zeros_like(tables.impostor_steps),
        np.zeros_like(tables.genuine_steps),
    )
    for _, a, b, d in pairs:
        accepting = [k for k, edge in enumerate(grid.edges) if d < edge][:1]
        if a == b:
            genuine[unit[a]] += 1
            genuine_steps[unit[a], accepting] += 1
        else:
            impostors[unit[a], unit[b]] += 1
            impostor_steps[unit[a], unit[b], accepting] += 1
    np.testing.assert_array_equal(tables.impostor_steps, impostor_steps)
    np.testing.assert_array_equal(tables.genuine_steps, genuine_steps)
    np.testing.assert_array_equal(tables.genuine, genuine)
    relabelled = any(label_of.get(i, a) != a for i, a, _ in zip(*queries, strict=True))
    if relabelled:  # such a query's own row is taken off its own part
        assert tables.impostors.sum() == impostors.sum()
    else:
        np.testing.assert_array_equal(tables.impostors, impostors)


def drawn_set(seed: int, classes: int, images: int) -> Rows:
    """Whole numbers, so that every distance is exact."""
    rng = np.random.default_rng(seed)
    centres = rng.integers(-20, 21, (classes, 3))
    rows = np.repeat(centres, images, axis=0) + rng.integers(-8, 9, (classes * images, 3))
    labels = [b"%02d" % (i // images) for i in range(len(rows))]
    return Rows([b"%03d" % i for i in range(len(rows))], labels, rows.astype(np.float32))


def test_a_resample_counts_each_pair_as_often_as_both_its_classes(monkeypatch):
    rows = drawn_set(0, classes=6, images=4)
    block, shards = make_block(rows, [], rows, [], 100)
    grid = find_grid(count_block_pairs(block, shards)[""], 0.1)
    counters = AcceptCounters(grid, units_of(block.classes, np.array(rows.labels, object)))
    tables = score_block(block, shards, KS, count_pairs=lambda model: counters)[""].pairs
    drawn = np.random.default_rng(1).multinomial(6, [1 / 6] * 6, size=5).astype(np.float64)
    monkeypatch.setattr(pair_bootstrap, "draw_weights", lambda *args: drawn)
    rates = pair_bootstrap._resampled_rates(tables, np.arange(6), 5)
    pairs = [(int(a), int(b), d) for _, a, b, d in labelled_pairs(rows, rows)]
    for weights, of_rates in zip(drawn, rates, strict=True):
        two = [(weights[a] * weights[b], d) for a, b, d in pairs if a != b]
        for edge, rate in zip(grid.edges, of_rates, strict=True):
            expected = sum(w for w, d in two if d < edge) / sum(w for w, _ in two)
            assert rate == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("query_rows", "shard_rows"), [(200, 200), (7, 9)])
def test_in_beam_neither_blocks_nor_shards_matter(query_rows, shard_rows):
    rows = drawn_set(3, classes=12, images=5)
    impostors = [d for _, a, b, d in labelled_pairs(rows, rows) if a != b]
    genuine = [d for _, a, b, d in labelled_pairs(rows, rows) if a == b]
    exact, at_a_tenth = (exact_threshold(impostors, rate) for rate in (0.05, 0.1))

    def check(results) -> None:
        (result,) = results
        values = result.by_model[""]
        assert values["operating_threshold"] == exact  # whole numbers below 2,048 are told apart
        assert values["operating_threshold lower"] <= exact <= values["operating_threshold upper"]
        far = sum(d < exact for d in impostors) / len(impostors)
        frr = sum(d >= exact for d in genuine) / len(genuine)
        assert values["operating_far lower"] <= far <= values["operating_far upper"]
        assert values["operating_frr lower"] <= frr <= values["operating_frr upper"]
        # The metrics of verification are there as without an operating point.
        assert values["tar@far=0.1"] == sum(d < at_a_tenth for d in genuine) / len(genuine)

    labelled = LabelledRows(
        np.array(rows.ids, object), np.array(rows.labels, object), {"": rows.embeddings}
    )
    with beam.Pipeline(argv=BEAM_ARGS) as pipeline:
        scored = (
            pipeline
            | beam.Create([labelled])
            | ScoreQueries(KS, verification=True, false_accept_rate=0.05,
                           query_rows=query_rows, shard_rows=shard_rows)
        )  # fmt: skip
        assert_that(scored | MeasureSet(verification=True), check)


def test_more_classes_than_parts_are_resampled_in_parts():
    classes = np.arange(3 * UNITS, dtype=np.int32)
    assert set(units_of(classes, classes)) == set(range(UNITS))
    unknown = units_of(np.array([-1, -1], np.int32), np.array([b"x", "x"], object))
    assert unknown[0] == unknown[1]


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000), st.floats(0.02, 0.3))
def test_every_interval_holds_what_it_is_of(seed, rate):
    tables = tables_of(drawn_set(seed, classes=8, images=3), rate)
    assume(tables.grid.edges[tables.grid.chosen] > 0)
    values = pair_bootstrap.operating_metrics(tables, 400)
    lower, upper = (values[f"operating_threshold {end}"] for end in ("lower", "upper"))
    assert lower <= values["operating_threshold"] <= upper


def tables_of(rows: Rows, rate: float) -> AcceptTables:
    block, shards = make_block(rows, [], rows, [], len(rows.ids))
    grid = find_grid(count_block_pairs(block, shards)[""], rate)
    units = units_of(block.classes, np.array(rows.labels, object))
    counters = AcceptCounters(grid, units)
    tables = score_block(block, shards, KS, count_pairs=lambda model: counters)[""].pairs
    assert isinstance(tables, AcceptTables)
    return tables


def test_without_an_error_or_a_third_class_there_is_no_interval():
    two = tables_of(drawn_set(0, classes=2, images=5), 0.2)
    values = pair_bootstrap.operating_metrics(two, 200)
    assert np.isfinite(values["operating_threshold"])
    assert np.isnan(values["operating_threshold lower"])
    apart = Rows([b"1", b"2", b"3", b"4"], [b"a", b"b", b"c", b"c"],
                 np.array([[0], [9], [20], [21]], np.float32))  # fmt: skip
    values = pair_bootstrap.operating_metrics(tables_of(apart, 0.2), 200)
    assert np.isnan(values["operating_frr upper"])  # not one pair of one class is rejected


def test_a_rate_below_one_pair_has_no_operating_point():
    rows = drawn_set(0, classes=3, images=2)  # 6 · 4 = 24 pairs of two classes
    assert np.isnan(
        pair_bootstrap.operating_metrics(tables_of(rows, 1 / 25), 50)["operating_threshold"]
    )
    assert pair_bootstrap.operating_metrics(tables_of(rows, 1 / 24), 50)["operating_threshold"] > 0


def images(random: np.random.Generator, classes: int, of_class: int) -> np.ndarray:
    """float32 [classes, of_class, 8], unit vectors around the centres of classes."""
    centres = random.normal(size=(classes, 1, 8))
    rows = centres + 0.6 * random.normal(size=(classes, of_class, 8))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("classes", [10, 25])
def test_intervals_hold_what_is_true_of_all_classes(classes) -> None:
    """Of 40 evaluations, each with classes drawn from the same world."""
    random, rate = np.random.default_rng(7), 0.01
    first, second = np.moveaxis(images(random, 20_000, 2), 1, 0)
    some = first[:1500]
    impostors = (2 - 2 * some @ some.T)[np.triu_indices(len(some), 1)]
    genuine = ((first - second) ** 2).sum(axis=1)
    held = Counter[str]()
    for _ in range(40):
        rows = images(random, classes, 6).reshape(-1, 8)
        labels = [b"%d" % (i // 6) for i in range(len(rows))]
        values = pair_bootstrap.operating_metrics(
            tables_of(Rows([b"%d" % i for i in range(len(rows))], labels, rows), rate), 400
        )
        threshold = values["operating_threshold"]
        truth = {
            "operating_threshold": np.quantile(impostors, rate),
            "operating_far": (impostors < threshold).mean(),
            "operating_frr": (genuine >= threshold).mean(),
        }
        for name, true in truth.items():
            held[name] += values[f"{name} lower"] <= true <= values[f"{name} upper"]
    # 95% of 40 are 38. Fewer than 34 come by chance with a probability of 1 in 300.
    assert all(held[name] >= 34 for name in truth), held
