"""One of several ways through a graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import tensorflow as tf

Result = TypeVar("Result", bound=tf.Tensor | tuple[tf.Tensor, ...])


def run_branch(index: tf.Tensor, branches: Sequence[Callable[[], Result]]) -> Result:
    """Runs the branch of a number, as `tf.switch_case` does.

    By halves, with `tf.cond`: TensorFlow Transform has no way to write down a Case operation.

    Args:
        index: Scalar int32 below the number of branches.
        branches: At least one; all give tensors of the same types.
    """
    if len(branches) == 1:
        return branches[0]()
    half = len(branches) // 2
    return tf.cond(
        index < half,
        lambda: run_branch(index, branches[:half]),
        lambda: run_branch(index - half, branches[half:]),
    )
