"""Triplet losses: a miner, a distance, a loss term and a mean, each chosen by itself.

A batch of B triplets is embedded in one forward pass as 3·B rows: rows 0…B−1 are the anchors,
B…2B−1 their positives, 2B…3B−1 their negatives. Minings other than `none` take N labelled rows.
`modules.losses.distances` says how far apart two rows are, `modules.losses.terms` what a triplet
contributes. With `swap` the negative's distance is min(d_an, d_pn) (Balntas et al. 2016, "Learning
local feature descriptors with triplets and shallow convolutional neural networks"). The loss of the
batch is the mean over the terms above 0.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from modules.losses.batch_all import all_term_by_term, all_with_margin
from modules.losses.distances import DISTANCES, pairwise_squared, rowwise_squared
from modules.losses.loss_sums import LossSums, add_up, mean_over_active
from modules.losses.memory import Rows, with_memory
from modules.losses.miners import make_batch
from modules.losses.own_code import find_miner
from modules.losses.terms import TERMS
from modules.settings import LossSettings


@keras.saving.register_keras_serializable(package="triplet")
class TripletLoss(keras.losses.Loss):
    """The mean over active triplets of a batch.

    `y_true` holds labels [3·B], integers or strings; `y_pred` unit embeddings [3·B, D] of any float
    type. Arithmetic and result are float32 whatever the precision of the network. A batch without a
    triplet has the loss 0.

    Args:
        margin: In the chosen distance; None: 0.2 for `loss = "margin"`.
        mining: `none` (the batch's own triplets), `all`, a miner of `modules.losses.miners`, or the
            import path of one's own.
        loss: `margin` or `soft_margin`.
        distance: A name in `modules.losses.distances`.
        swap: Whether the negative's distance is the smaller one of those to anchor and positive.
        seed: Of the random draws of `distance_weighted`.
        name: Of the loss, for Keras.

    Raises:
        ValueError: An unknown name, or a combination that makes no sense; the message says why.
    """

    def __init__(
        self,
        margin: float | None = None,
        mining: str = "semi_hard",
        *,
        loss: str = "margin",
        distance: str = "squared_l2",
        swap: bool = False,
        seed: int = 0,
        name: str = "triplet_loss",
    ) -> None:
        super().__init__(name=name, reduction="sum", dtype="float32")
        given = {} if margin is None else {"margin": margin}
        self.settings = LossSettings.model_validate(
            {"loss": loss, "distance": distance, "swap": swap, "mining": mining, **given}
        )
        if not self.settings.of_triplets:
            raise ValueError(
                f"loss = '{loss}' is not made of triplets; choose {' or '.join(TERMS)}"
            )
        self._term = TERMS[loss](self.settings)
        self._seed = seed
        self._draws = keras.random.SeedGenerator(seed) if mining == "distance_weighted" else None

    def __call__(
        self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Returns the loss, float32 []; `sample_weight` may be one number for the whole batch."""
        # Keras casts labels to float32, in which integers above 2^24 coincide: number them anew.
        codes = tf.unique(tf.reshape(y_true, [-1])).idx
        return super().__call__(codes, y_pred, sample_weight)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Returns the loss, float32 []."""
        seed = None if self._draws is None else self._draws.next()
        return mean_over_active(self.sums(y_true, y_pred, seed))

    def sums(
        self,
        labels: tf.Tensor,
        embeddings: tf.Tensor,
        seed: tf.Tensor | None = None,
        memory: Rows | None = None,
    ) -> LossSums:
        """Mines a batch and adds the terms up.

        Args:
            labels: [N], any type that has an equality.
            embeddings: [N, D], unit rows of any float type.
            seed: Integer [2], for `distance_weighted` only; the draw depends on nothing else.
            memory: More positives and negatives; not with mining `none`, nor with `swap`.

        Returns:
            Sums over the mined triplets.
        """
        embeddings = tf.cast(embeddings, tf.float32)
        settings = self.settings
        assert settings.distance is not None
        assert settings.mining is not None
        distance = DISTANCES[settings.distance]
        if settings.mining == "none":
            anchor, positive, negative = tf.split(embeddings, 3)
            return self._add_up(
                rowwise_squared(anchor, positive),
                rowwise_squared(anchor, negative),
                rowwise_squared(positive, negative) if settings.swap else None,
            )
        candidates = with_memory(Rows(labels, embeddings), memory)
        squared = pairwise_squared(embeddings, candidates.embeddings)
        batch = make_batch(squared, labels, candidates.labels)
        if settings.mining == "all":
            if settings.loss == "margin" and not settings.swap:
                assert settings.margin is not None
                return all_with_margin(batch, distance(squared), settings.margin)
            return all_term_by_term(batch, distance(squared), self._term, settings.swap)
        a, p, n = find_miner(settings.mining)(batch, embeddings.shape[-1], seed)
        ends = [(a, p), (a, n), (p, n)] if settings.swap else [(a, p), (a, n)]
        # One gather has one gradient [N, K]; three would have three, to be added up.
        indices = tf.concat([tf.stack(pair, axis=1) for pair in ends], axis=0)
        s_ap, s_an, *s_pn = tf.split(tf.gather_nd(squared, indices), len(ends))
        return self._add_up(s_ap, s_an, s_pn[0] if s_pn else None)

    def _add_up(self, s_ap: tf.Tensor, s_an: tf.Tensor, s_pn: tf.Tensor | None) -> LossSums:
        """From squared distances float32 [T] of triplets."""
        assert self.settings.distance is not None
        distance = DISTANCES[self.settings.distance]
        d_ap, d_an = distance(s_ap), distance(s_an)
        if s_pn is not None:
            d_an = tf.minimum(d_an, distance(s_pn))
        return add_up(self._term(d_ap, d_an), d_ap, d_an)

    def get_config(self) -> dict[str, Any]:
        """Returns what `from_config` needs."""
        return {**triplet_options(self.settings), "seed": self._seed, "name": self.name}


def triplet_options(settings: LossSettings) -> dict[str, Any]:
    """The keys of the settings that `TripletLoss` is made with."""
    return settings.model_dump(include={"margin", "mining", "loss", "distance", "swap"})
