"""Miners: which triplets of a batch count. They return row numbers and carry no gradient.

All of them read the squared L2 distances of the N rows of a batch to K candidates: the rows
themselves and, behind them, those of the memory if there is one (`modules.losses.memory`). Anchors
are rows, positives and negatives are candidates. Every distance of `modules.losses.distances`
orders rows alike, so the choice does not depend on the one that the loss uses. None builds the cube
of triplets: memory is O(N·K).

| name                | anchors and positives              | negative                            |
|---------------------|------------------------------------|-------------------------------------|
| `semi_hard`         | every ordered pair of a class      | the nearest one farther than the    |
|                     |                                    | positive; if none is, the farthest  |
| `hard`              | each row and its farthest positive | the nearest                         |
| `easy_positive`     | each row and its nearest positive  | as `semi_hard`                      |
| `distance_weighted` | every ordered pair of a class      | drawn at random, see the function   |

Anchors without a positive or without a negative are left out. Between equally distant rows the
choice is any one of them. The minings `none` (explicit triplets, `modules.losses.triplet_loss`) and
`all` (`modules.losses.batch_all`) are no miners: they do not choose rows.

A new miner is a function here, an entry in `MINERS` and a name in `LossSettings.mining`. A miner of
one's own needs no change here: any function from a `Batch` to `TripletIndices` will do, see
`modules.losses.own_code`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

# Beyond every distance plus every margin; stands for "not to be chosen" in a sort or a minimum.
FAR = 15.0
# Wu et al. 2017: L2 distances below the first count as it; negatives beyond the second are out.
_CUTOFF, _NONZERO_LOSS_CUTOFF = 0.5, 1.4
# So far below every log-weight that exp() of it is 0, yet finite: see `distance_weighted`.
_EXCLUDED = -1e6


class TripletIndices(NamedTuple):
    """Numbers of T triplets, int32 [T] each: the anchor's row, and two candidates."""

    anchor: tf.Tensor
    positive: tf.Tensor
    negative: tf.Tensor


class Batch(NamedTuple):
    """What a miner looks at: N rows beside K candidates, of which the first N are the rows."""

    squared: tf.Tensor  # float32 [N, K], squared L2 distances of unit rows
    same: tf.Tensor  # bool [N, K], whether the labels are equal
    positives: tf.Tensor  # bool [N, K], `same` without the row itself


def make_batch(squared: tf.Tensor, labels: tf.Tensor, candidates: tf.Tensor | None = None) -> Batch:
    """Compares the labels.

    Args:
        squared: float32 [N, K], squared L2 distances of unit rows.
        labels: [N] of any type that has an equality.
        candidates: Labels [K], those of the rows first; default: the labels, K = N.

    Returns:
        The batch, without gradient.
    """
    candidates = labels if candidates is None else candidates
    same = labels[:, None] == candidates[None, :]
    positives = tf.linalg.set_diag(same, tf.zeros(tf.shape(labels), tf.bool))
    return Batch(tf.stop_gradient(squared), same, positives)


def pairs(batch: Batch) -> tf.Tensor:
    """All ordered (anchor, positive) whose anchor has a negative, int32 [P, 2], by row."""
    # One row has a negative exactly if all have one: the candidates have at least two classes.
    has_negative = tf.reduce_any(~batch.same[:1])
    return tf.cast(tf.where(batch.positives & has_negative), tf.int32)


def semi_hard(batch: Batch) -> TripletIndices:
    """For each (anchor, positive) the nearest negative farther than the positive.

    If there is none, the farthest negative. This is the rule of FaceNet (Schroff et al. 2015,
    arXiv:1503.03832, section 3.2) with TensorFlow Addons' fallback. The negatives of each anchor
    are sorted once and each positive looks up its place: O(N·K log K) time.
    """
    chosen = pairs(batch)
    ranking = rank_negatives(batch.squared, batch.same)
    place = insertion_point(ranking, chosen[:, 0], tf.gather_nd(batch.squared, chosen), "right")
    last = tf.gather(ranking.count, chosen[:, 0]) - 1
    place = tf.stack([chosen[:, 0], tf.minimum(place, last)], axis=1)
    return TripletIndices(chosen[:, 0], chosen[:, 1], tf.gather_nd(ranking.order, place))


def hard(batch: Batch) -> TripletIndices:
    """For each anchor the farthest positive and the nearest negative.

    "Batch hard" of Hermans et al. 2017, arXiv:1703.07737, equation 5. From random weights it tends
    to collapse; it needs a warm-up with a milder miner.
    """
    anchor = _anchors(batch)
    return TripletIndices(
        anchor,
        _argmin(tf.where(batch.positives, -batch.squared, FAR), anchor),
        _argmin(tf.where(batch.same, FAR, batch.squared), anchor),
    )


def easy_positive(batch: Batch) -> TripletIndices:
    """For each anchor the nearest positive, and the semi-hard negative of that pair.

    "Easy positive semi-hard negative" of Xuan et al. 2020, arXiv:1904.04370. It keeps classes with
    several looks from being pulled into one point. The fallback is that of `semi_hard`.
    """
    anchor = _anchors(batch)
    positive = _argmin(tf.where(batch.positives, batch.squared, FAR), anchor)
    rows, same = tf.gather(batch.squared, anchor), tf.gather(batch.same, anchor)
    d_ap = tf.gather_nd(batch.squared, tf.stack([anchor, positive], axis=1))
    farther = ~same & (rows > d_ap[:, None])
    nearest_farther = tf.argmin(tf.where(farther, rows, FAR), axis=1, output_type=tf.int32)
    farthest = tf.argmax(tf.where(same, -1.0, rows), axis=1, output_type=tf.int32)
    negative = tf.where(tf.reduce_any(farther, axis=1), nearest_farther, farthest)
    return TripletIndices(anchor, positive, negative)


def distance_weighted(batch: Batch, dimension: int, seed: tf.Tensor) -> TripletIndices:
    """For each (anchor, positive) a random negative, evenly spread over the distances.

    Wu et al. 2017, arXiv:1706.07567, section 4: a negative at L2 distance d is drawn with a
    probability proportional to 1 / q(max(d, 0.5)), where
    q(d) = d^(D−2) · (1 − d²/4)^((D−3)/2) is the density of d between random points of the unit
    sphere in D dimensions. Negatives beyond 1.4 are not drawn; if an anchor has no nearer one, all
    of its negatives are equally likely.

    Args:
        batch: The batch.
        dimension: D, the size of the embedding.
        seed: Integer [2]; the draw depends on nothing else.
    """
    squared = tf.cast(batch.squared, tf.float64)
    clipped = tf.maximum(squared, _CUTOFF**2)
    inner = tf.maximum(1.0 - clipped / 4.0, 1e-8)
    log_weight = -0.5 * ((dimension - 2) * tf.math.log(clipped))
    log_weight -= 0.5 * ((dimension - 3) * tf.math.log(inner))
    # One constant for all excluded ones: alone in a row they share its probability evenly.
    log_weight = tf.where(squared < _NONZERO_LOSS_CUTOFF**2, log_weight, _EXCLUDED)
    log_weight = tf.where(~batch.same, log_weight, -math.inf)
    # A row without negatives has the maximum −inf; its weights shall be 0, not NaN.
    largest = tf.maximum(tf.reduce_max(log_weight, axis=1, keepdims=True), 2 * _EXCLUDED)
    weight = tf.exp(log_weight - largest)
    chosen = pairs(batch)
    # Inverse distribution function: a uniform number of [0, total) looks up its negative.
    cumulative = tf.cumsum(weight, axis=1)
    uniform = tf.random.stateless_uniform([tf.shape(chosen)[0]], seed)
    drawn = tf.cast(uniform, tf.float64) * tf.gather(cumulative[:, -1], chosen[:, 0])
    n = tf.shape(weight)[1]
    negative = _search_rows(cumulative, chosen[:, 0], drawn, "right", tf.cast(n, tf.float64))
    # NaN distances find no place; the row must exist all the same, for the loss to become NaN.
    negative = tf.minimum(negative, n - 1)
    return TripletIndices(chosen[:, 0], chosen[:, 1], negative)


# From a batch, D and the seed of a draw to the chosen triplets.
Miner = Callable[[Batch, int, tf.Tensor | None], TripletIndices]


def _without_draw(mine: Callable[[Batch], TripletIndices]) -> Miner:
    """A miner whose choice is certain."""
    return lambda batch, dimension, seed: mine(batch)


MINERS: dict[str, Miner] = {
    "semi_hard": _without_draw(semi_hard),
    "hard": _without_draw(hard),
    "easy_positive": _without_draw(easy_positive),
    "distance_weighted": distance_weighted,
}


class Ranking(NamedTuple):
    """The negatives of every row, nearest first."""

    distances: tf.Tensor  # float32 [N, K], ascending, FAR behind the last negative
    order: tf.Tensor  # int32 [N, K], their columns
    count: tf.Tensor  # int32 [N], how many there are


def rank_negatives(distances: tf.Tensor, same: tf.Tensor) -> Ranking:
    """Sorts each row's negatives by a distance float32 [N, K], 0 ≤ distance < FAR."""
    # Floats ≥ 0 order like their bits, and integers sort faster.
    keys = -tf.bitcast(tf.where(same, FAR, distances), tf.int32)
    nearest_first = tf.math.top_k(keys, k=tf.shape(same)[1])
    return Ranking(
        distances=tf.bitcast(-nearest_first.values, tf.float32),
        order=nearest_first.indices,
        count=tf.reduce_sum(tf.cast(~same, tf.int32), axis=1),
    )


def insertion_point(ranking: Ranking, row: tf.Tensor, value: tf.Tensor, side: str) -> tf.Tensor:
    """Where each value [P] belongs among the sorted negatives of its row [P]; int32 [P]."""
    keys, values = tf.cast(ranking.distances, tf.float64), tf.cast(value, tf.float64)
    return _search_rows(keys, row, values, side, FAR)


def _search_rows(
    keys: tf.Tensor, row: tf.Tensor, value: tf.Tensor, side: str, largest: float | tf.Tensor
) -> tf.Tensor:
    """Binary search of `value` float64 [P] in the rows `row` of ascending keys float64 [N, M].

    One search in all rows laid end to end: a row's offset keeps its keys, 0 to `largest`, apart
    from the others'. TensorFlow's batched search would look up as many values in
    every row. In float64 the offset costs no difference that float32 distances have.
    """
    n, m = tf.unstack(tf.shape(keys))
    offset = tf.cast(tf.range(n), tf.float64) * (largest + 1.0)
    flat = tf.reshape(keys + offset[:, None], [-1])
    place = tf.searchsorted(flat, value + tf.gather(offset, row), side=side) - row * m
    return tf.clip_by_value(place, 0, m)  # NaN among the keys would lead into other rows


def _anchors(batch: Batch) -> tf.Tensor:
    """Rows with a positive and a negative, int32 [A]."""
    usable = tf.reduce_any(batch.positives, axis=1) & tf.reduce_any(~batch.same, axis=1)
    return tf.cast(tf.where(usable)[:, 0], tf.int32)


def _argmin(values: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    return tf.gather(tf.argmin(values, axis=1, output_type=tf.int32), rows)
