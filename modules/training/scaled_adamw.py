"""AdamW with another rate for some variables, by methods that Keras keeps private.

Keras has no public place for a rate per variable, nor for gradients that are summed over replicas
already. `tests/test_private_names.py` fails when Keras changes the names that are used here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import tensorflow as tf


class ScaledAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), slower or faster for some variables.

    Biases, and scales and offsets of normalisation, do not decay: they are vectors, and only
    variables with at least two dimensions do. (Keras's AdamW decays all of them at the full rate.)
    """

    def __init__(
        self,
        rates: Iterable[tuple[Iterable[keras.Variable], float]],
        decay: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._decay = decay
        self._factors = {
            self._var_key(variable): factor for variables, factor in rates for variable in variables
        }

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """One step of Adam, and of the decay before it."""
        learning_rate = learning_rate * self._factors.get(self._var_key(variable), 1.0)
        if self._decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * (self._decay * learning_rate))
        super().update_step(gradient, variable, learning_rate)

    def _all_reduce_sum_gradients(
        self, grads_and_vars: list[tuple[tf.Tensor, keras.Variable]]
    ) -> list[tuple[tf.Tensor, keras.Variable]]:
        """Nothing to add up: they are summed before, so clipping sees the whole gradient."""
        return grads_and_vars
