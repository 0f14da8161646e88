"""Loss terms: what one triplet contributes, as a function of its two distances.

| loss          | term                         | source                                |
|---------------|------------------------------|---------------------------------------|
| `margin`      | max(0, d_ap − d_an + margin) | Schroff et al. 2015, arXiv:1503.03832 |
| `soft_margin` | log(1 + exp(d_ap − d_an))    | Hermans et al. 2017, arXiv:1703.07737 |

A new loss is a function here, an entry in `TERMS` and a name in `LossSettings.loss`.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from modules.settings import LossSettings

# The loss of triplets from (d_ap, d_an), float32 of one shape each.
Term = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def margin(settings: LossSettings) -> Term:
    """The hinge: no loss where the negative is farther than the positive by `margin`."""

    def term(d_ap: tf.Tensor, d_an: tf.Tensor) -> tf.Tensor:
        return tf.maximum(d_ap - d_an + settings.margin, 0.0)

    return term


def soft_margin(settings: LossSettings) -> Term:
    """The softplus: every triplet costs something, and ever less the farther its negative is."""

    def term(d_ap: tf.Tensor, d_an: tf.Tensor) -> tf.Tensor:
        return tf.math.softplus(d_ap - d_an)

    return term


TERMS: dict[str, Callable[[LossSettings], Term]] = {"margin": margin, "soft_margin": soft_margin}
