"""The sum over all triplets of a batch ("batch all", Hermans et al. 2017, arXiv:1703.07737).

There are up to N·K² of them for N rows and K candidates (the rows and the memory); neither way here
keeps more than O(N·K) numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from modules.losses.loss_sums import LossSums
from modules.losses.miners import Batch, insertion_point, pairs, rank_negatives

# Pairs (anchor, positive) at a time, in multiples of N: with fewer the loop takes longer, with more
# only memory.
_PAIRS_AT_ONCE = 4


def all_with_margin(batch: Batch, distances: tf.Tensor, margin: float) -> LossSums:
    """Sums max(0, d_ap − d_an + margin) over all triplets by sorting, O(N·K log K) time.

    For a pair (a, p) the active negatives are those nearer than d_ap + margin: the first c of the
    sorted ones. So D[a, p] enters the sum c times, and D[a, n] enters it, negatively, as often as a
    pair of the anchor reaches n. Given these counts the sum is linear in the distances.

    Args:
        batch: Which rows belong together.
        distances: float32 [N, K], the distance that the margin refers to; the gradient flows here.
        margin: At most 4.
    """
    fixed = tf.stop_gradient(distances)
    chosen = pairs(batch)
    anchor = chosen[:, 0]
    d_ap = tf.gather_nd(fixed, chosen)
    ranking = rank_negatives(fixed, batch.same)
    reached = insertion_point(ranking, anchor, d_ap + margin, "left")

    n, k = tf.unstack(tf.shape(fixed))
    # How many pairs of a row reach exactly its first c negatives, for every c; then at least c.
    exactly = tf.math.unsorted_segment_sum(
        tf.ones_like(d_ap), anchor * (k + 1) + reached, n * (k + 1)
    )
    at_least = tf.cumsum(tf.reshape(exactly, [n, k + 1]), axis=1, reverse=True)
    flat = tf.reshape(ranking.order + tf.range(n)[:, None] * k, [-1])
    by_negative = tf.math.unsorted_segment_sum(tf.reshape(at_least[:, 1:], [-1]), flat, n * k)
    weight = tf.tensor_scatter_nd_add(
        -tf.reshape(by_negative, [n, k]), chosen, tf.cast(reached, tf.float32)
    )
    active = tf.reduce_sum(tf.cast(reached, tf.float32))
    count, d_ap_sum = _pair_sums(batch, chosen, fixed)
    row_sums = tf.reduce_sum(tf.where(batch.same, 0.0, fixed), axis=1)
    return LossSums(
        loss=tf.reduce_sum(weight * distances) + margin * active,
        active=active,
        count=count,
        d_ap=d_ap_sum,
        d_an=tf.reduce_sum(tf.gather(row_sums, anchor)),
    )


def all_term_by_term(
    batch: Batch,
    distances: tf.Tensor,
    term: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    swap: bool,
) -> LossSums:
    """Sums any loss term over all triplets, 4·N pairs (anchor, positive) at a time.

    Time is O(P·K) for P pairs, so N·K² / C for C classes of equal size. Automatic differentiation
    through the loop would keep everything; instead each turn adds its gradient.

    Args:
        batch: Which rows belong together.
        distances: float32 [N, K], the distance of the loss; the gradient flows here.
        term: The loss of (d_ap, d_an), float32 of any shape.
        swap: Whether d_an is the smaller one of d_an and d_pn; only without a memory.
    """
    chosen = pairs(batch)
    size = _PAIRS_AT_ONCE * tf.shape(distances)[0]

    def sums_of_some(fixed: tf.Tensor, start: tf.Tensor) -> _LoopSums:
        some = chosen[start : start + size]
        d_ap = tf.gather_nd(fixed, some)[:, None]
        d_an = tf.gather(fixed, some[:, 0])
        if swap:
            d_an = tf.minimum(d_an, tf.gather(fixed, some[:, 1]))
        negative = tf.gather(~batch.same, some[:, 0])
        terms = tf.where(negative, term(d_ap, d_an), 0.0)
        return _LoopSums(
            loss=tf.reduce_sum(terms),
            active=tf.reduce_sum(tf.cast(terms > 0, tf.float32)),
            d_an=tf.reduce_sum(tf.where(negative, d_an, 0.0)),
        )

    @tf.custom_gradient
    def total(distances: tf.Tensor) -> tuple[_LoopSums, Callable[..., tf.Tensor]]:
        def add_some(
            start: tf.Tensor, sums: _LoopSums, gradient: tf.Tensor
        ) -> tuple[tf.Tensor, _LoopSums, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(distances)
                added = sums_of_some(distances, start)
            gradient += tf.convert_to_tensor(tape.gradient(added.loss, distances))
            sums = _LoopSums(*(old + new for old, new in zip(sums, added, strict=True)))
            return start + size, sums, gradient

        _, sums, gradient = tf.while_loop(
            lambda start, *_: start < tf.shape(chosen)[0],
            add_some,
            (0, _LoopSums(*[tf.zeros([])] * 3), tf.zeros_like(distances)),
            parallel_iterations=1,  # more would hold as many turns in memory
        )
        return sums, lambda loss, *_: loss * gradient

    sums = total(distances)
    count, d_ap = _pair_sums(batch, chosen, tf.stop_gradient(distances))
    return LossSums(sums.loss, sums.active, count, d_ap, sums.d_an)


class _LoopSums(NamedTuple):
    """What has to be looked up triplet by triplet, float32 [] each; see `LossSums`."""

    loss: tf.Tensor
    active: tf.Tensor
    d_an: tf.Tensor


def _pair_sums(batch: Batch, chosen: tf.Tensor, fixed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The number of triplets and the sum of their d_ap, float32 [] each."""
    negatives = tf.reduce_sum(tf.cast(~batch.same, tf.float32), axis=1)
    negatives = tf.gather(negatives, chosen[:, 0])
    return tf.reduce_sum(negatives), tf.reduce_sum(negatives * tf.gather_nd(fixed, chosen))
