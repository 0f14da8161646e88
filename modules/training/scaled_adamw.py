"""AdamW with a lower rate for some variables, by methods that Keras keeps private.

Keras has no public place for a rate per variable, nor for gradients that are summed over replicas
already. `tests/test_private_names.py` fails when Keras changes the names that are used here.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import keras
import tensorflow as tf


class ScaledAdamW(keras.optimizers.Adam):
    """AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), slower for some variables.

    Biases, and scales and offsets of normalisation, do not decay: they are vectors, and only
    variables with at least two dimensions do. (Keras's AdamW decays all of them at the full rate.)
    """

    def __init__(
        self,
        slow: Collection[keras.Variable],
        slow_factor: float,
        decay: float,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._decay = decay
        self._slow_factor = slow_factor
        self._slow = {self._var_key(variable) for variable in slow}

    def update_step(
        self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor
    ) -> None:
        """One step of Adam, and of the decay before it."""
        if self._var_key(variable) in self._slow:
            learning_rate = learning_rate * self._slow_factor
        if self._decay and len(variable.shape) > 1:
            self.assign_sub(variable, variable * (self._decay * learning_rate))
        super().update_step(gradient, variable, learning_rate)

    def _all_reduce_sum_gradients(
        self, grads_and_vars: list[tuple[tf.Tensor, keras.Variable]]
    ) -> list[tuple[tf.Tensor, keras.Variable]]:
        """Nothing to add up: they are summed before, so clipping sees the whole gradient."""
        return grads_and_vars
