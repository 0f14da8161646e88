"""Triplet losses over explicit triplets and over triplets mined in the batch.

A batch of B triplets is embedded in one forward pass as 3·B rows: rows 0…B−1 are the anchors,
B…2B−1 their positives, 2B…3B−1 their negatives. Distances are squared L2 between unit vectors,
d = 2 − 2·cos, at most 4; the margin refers to them.

Mining works on sorted distances: for each anchor the negatives are sorted once and every positive
looks up its place among them. That costs O(N² log N) time and O(N²) memory for N rows, never the
N³ of the triplet cube.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import keras
import tensorflow as tf

# Larger than any squared distance between unit vectors; stands for "not a negative" in a sort.
_FAR = 1e9


class Triplets(NamedTuple):
    """What a miner says about a batch, before the reduction.

    `loss` is the sum of max(0, d_ap − d_an + margin), `active` the number of its terms above 0,
    `count` the number of triplets looked at; `d_ap` and `d_an` are sums over them. All float32.
    """

    loss: tf.Tensor
    active: tf.Tensor
    count: tf.Tensor
    d_ap: tf.Tensor
    d_an: tf.Tensor


def squared_distances(embeddings: tf.Tensor) -> tf.Tensor:
    """Pairwise squared L2 distances of unit vectors.

    Args:
        embeddings: float32 [N, D], each row of norm 1.

    Returns:
        float32 [N, N], 2 − 2·cos, never negative. The gradient is finite everywhere, also between
        identical rows: no square root is taken.
    """
    return tf.maximum(2.0 - 2.0 * tf.matmul(embeddings, embeddings, transpose_b=True), 0.0)


def explicit_triplets(embeddings: tf.Tensor, margin: float) -> Triplets:
    """The triplets as TripletGen sampled them.

    Args:
        embeddings: float32 [3·B, D]: anchors, then positives, then negatives.
        margin: On the squared distance.

    Returns:
        Sums over the B triplets.
    """
    anchor, positive, negative = tf.split(embeddings, 3)
    d_ap = tf.reduce_sum(tf.math.squared_difference(anchor, positive), axis=1)
    d_an = tf.reduce_sum(tf.math.squared_difference(anchor, negative), axis=1)
    return _sums(d_ap, d_an, margin)


def semi_hard_triplets(embeddings: tf.Tensor, labels: tf.Tensor, margin: float) -> Triplets:
    """One negative for each (anchor, positive): the nearest one farther than the positive.

    If no negative is farther than the positive, the farthest negative is taken. This is the rule of
    FaceNet (Schroff et al. 2015, section 3.2) with TensorFlow Addons' fallback.

    Args:
        embeddings: float32 [N, D], unit rows.
        labels: int32 [N].
        margin: On the squared distance.

    Returns:
        Sums over all ordered pairs (anchor, positive) whose anchor has a negative in the batch.
    """
    ranking = _rank(embeddings, labels)
    farther = _insertion_point(ranking, ranking.d_ap, side="right")
    last = tf.gather(ranking.negatives, ranking.anchors) - 1
    place = tf.stack([ranking.anchors, tf.minimum(farther, last)], axis=1)
    # Looked up in the unsorted distances: the gradient need not pass through the sort.
    negative = tf.stack([ranking.anchors, tf.gather_nd(ranking.order, place)], axis=1)
    return _sums(ranking.d_ap, tf.gather_nd(ranking.distances, negative), margin)


def all_triplets(embeddings: tf.Tensor, labels: tf.Tensor, margin: float) -> Triplets:
    """Every (anchor, positive, negative) of the batch ("batch all", Hermans et al. 2017).

    For a pair (a, p) the active negatives are those nearer than t = d_ap + margin: the first c of
    the sorted ones. Their terms add up to c·t minus a prefix sum, so no cube is built.

    Args:
        embeddings: float32 [N, D], unit rows.
        labels: int32 [N].
        margin: On the squared distance.

    Returns:
        Sums over all triplets of the batch.
    """
    ranking = _rank(embeddings, labels)
    reach = ranking.d_ap + margin
    nearer = _insertion_point(ranking, reach, side="left")
    is_negative = ranking.sorted_negatives < _FAR
    prefix = tf.cumsum(tf.where(is_negative, ranking.sorted_negatives, 0.0), axis=1)
    prefix = tf.pad(prefix, [[0, 0], [1, 0]])
    active = tf.cast(nearer, tf.float32)
    sums = tf.gather_nd(prefix, tf.stack([ranking.anchors, nearer], axis=1))
    count = tf.cast(tf.gather(ranking.negatives, ranking.anchors), tf.float32)
    return Triplets(
        loss=tf.reduce_sum(active * reach - sums),
        active=tf.reduce_sum(active),
        count=tf.reduce_sum(count),
        d_ap=tf.reduce_sum(count * ranking.d_ap),
        d_an=tf.reduce_sum(tf.gather(prefix[:, -1], ranking.anchors)),
    )


class _Ranking(NamedTuple):
    """Distances of a batch, prepared for a look-up by every (anchor, positive)."""

    anchors: tf.Tensor  # int32 [P], the row of each pair whose anchor has a negative
    d_ap: tf.Tensor  # float32 [P]
    distances: tf.Tensor  # float32 [N, N]
    sorted_negatives: tf.Tensor  # float32 [N, N], ascending, _FAR in the places of no negative
    order: tf.Tensor  # int32 [N, N], the column of each sorted negative
    negatives: tf.Tensor  # int32 [N], how many there are


def _rank(embeddings: tf.Tensor, labels: tf.Tensor) -> _Ranking:
    distances = squared_distances(embeddings)
    same = labels[:, None] == labels[None, :]
    negatives = tf.reduce_sum(tf.cast(~same, tf.int32), axis=1)
    positives = same & ~tf.eye(tf.shape(labels)[0], dtype=tf.bool)
    pairs = tf.cast(tf.where(positives & (negatives > 0)[:, None]), tf.int32)
    nearest_first = tf.math.top_k(-tf.where(same, _FAR, distances), k=tf.shape(labels)[0])
    return _Ranking(
        anchors=pairs[:, 0],
        d_ap=tf.gather_nd(distances, pairs),
        distances=distances,
        sorted_negatives=-nearest_first.values,
        order=nearest_first.indices,
        negatives=negatives,
    )


def _insertion_point(ranking: _Ranking, values: tf.Tensor, side: str) -> tf.Tensor:
    """Where each pair's value [P] belongs in its anchor's row of sorted negatives; int32 [P].

    One search in all rows laid end to end: a row's offset keeps its values apart from the others'.
    It is many times faster than a batched search, which looks up [N, N] values. In float64 the
    offset costs no precision.
    """
    n = tf.shape(ranking.sorted_negatives)[1]
    offset = 16.0  # more than any distance plus any margin
    rows = tf.cast(tf.range(n), tf.float64) * offset
    keys = tf.minimum(tf.cast(ranking.sorted_negatives, tf.float64), offset - 1) + rows[:, None]
    queries = tf.cast(values, tf.float64) + tf.gather(rows, ranking.anchors)
    place = tf.searchsorted(tf.reshape(keys, [-1]), queries, side=side)
    return place - ranking.anchors * n


def _sums(d_ap: tf.Tensor, d_an: tf.Tensor, margin: float) -> Triplets:
    terms = tf.maximum(d_ap - d_an + margin, 0.0)
    return Triplets(
        loss=tf.reduce_sum(terms),
        active=tf.reduce_sum(tf.cast(terms > 0, tf.float32)),
        count=tf.cast(tf.size(d_ap), tf.float32),
        d_ap=tf.reduce_sum(d_ap),
        d_an=tf.reduce_sum(d_an),
    )


def mine(mining: str, embeddings: tf.Tensor, labels: tf.Tensor, margin: float) -> Triplets:
    """Applies the miner of that name: `none` (explicit triplets), `semi_hard` or `all`."""
    embeddings = tf.cast(embeddings, tf.float32)
    if mining == "none":
        return explicit_triplets(embeddings, margin)
    miner = {"semi_hard": semi_hard_triplets, "all": all_triplets}[mining]
    return miner(embeddings, labels, margin)


def mean_over_active(triplets: Triplets) -> tf.Tensor:
    """The mean of the loss over active triplets, float32 []; 0 when none is active."""
    return triplets.loss / tf.maximum(triplets.active, 1.0)


@keras.saving.register_keras_serializable(package="triplet")
class TripletLoss(keras.losses.Loss):
    """Triplet margin loss, the mean over active triplets of max(0, d_ap − d_an + margin).

    `y_true` holds integer labels [3·B] and `y_pred` unit embeddings [3·B, D] in the row order
    described above. Arithmetic is float32 whatever the precision of the network.
    """

    def __init__(
        self, margin: float = 0.2, mining: str = "semi_hard", name: str = "triplet_loss"
    ) -> None:
        super().__init__(name=name, reduction="sum", dtype="float32")
        self.margin = margin
        self.mining = mining

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss, float32 []."""
        labels = tf.reshape(tf.cast(y_true, tf.int32), [-1])
        return mean_over_active(mine(self.mining, y_pred, labels, self.margin))

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {"margin": self.margin, "mining": self.mining, "name": self.name}
