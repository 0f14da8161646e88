"""Classes turned and mirrored, which training may learn as classes of their own.

A character on its side is another character. So a hundred characters become eight hundred, for
nothing: the augmentation by rotated classes of the literature on few images per class (Santoro et
al. 2016, arXiv:1605.06065, section 4.1). Within a step all images of a class are turned alike.
"""

from __future__ import annotations

import tensorflow as tf

from modules.settings import AugmentationSettings

# An orientation is a number of quarter turns, 0 to 3, and 4 more if it is mirrored.
TURNS = 4

# The mixing of Steele et al. 2014, SplitMix64: each bit of the result depends on all of the input.
_GAMMA = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def orientations_of(settings: AugmentationSettings) -> list[int]:
    """The orientations that a class may have, 0 first: `[0]` without any such setting."""
    turns = range(TURNS) if settings.turn_classes else range(1)
    return [
        turn + TURNS * mirrored
        for mirrored in range(2 if settings.mirror_classes else 1)
        for turn in turns
    ]


def draw_orientations(
    labels: tf.Tensor, seed: tf.Tensor, settings: AugmentationSettings
) -> tf.Tensor:
    """Draws the orientation of each class for one step.

    It depends on label and seed alone, so that replicas that hold images of one class agree.

    Args:
        labels: int64 [N].
        seed: int64 [2], of the step.
        settings: Which orientations there are.

    Returns:
        int32 [N], equal for equal labels.
    """
    allowed = orientations_of(settings)
    mixed = mix(tf.bitwise.bitwise_xor(tf.bitcast(labels, tf.uint64), mix_of_step(seed)))
    # The upper bits: as good as the lower ones, and never negative.
    upper = tf.cast(tf.bitwise.right_shift(mixed, tf.constant(33, tf.uint64)), tf.int64)
    return tf.gather(tf.constant(allowed, tf.int32), tf.cast(upper % len(allowed), tf.int32))


def label_orientations(labels: tf.Tensor, orientations: tf.Tensor) -> tf.Tensor:
    """The label of each class in its orientation.

    Args:
        labels: int64 of any shape, fingerprints.
        orientations: Integers of a shape that fits.

    Returns:
        int64; unchanged for the orientation 0, and else different for each.
    """
    # Overflow wraps around, as the labels are fingerprints anyway.
    step = tf.bitcast(tf.constant(_GAMMA, tf.uint64), tf.int64)
    return labels + tf.cast(orientations, tf.int64) * step


def mix_of_step(seed: tf.Tensor) -> tf.Tensor:
    """The seed of a step, int64 [2], to one uint64."""
    first, second = tf.unstack(tf.bitcast(seed, tf.uint64))
    return mix(tf.bitwise.bitwise_xor(mix(first), second))


def mix(bits: tf.Tensor) -> tf.Tensor:
    """uint64 to uint64, each bit by all others."""
    bits += tf.constant(_GAMMA, tf.uint64)
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        bits = _fold(bits, shift) * tf.constant(factor, tf.uint64)
    return _fold(bits, 31)


def _fold(bits: tf.Tensor, shift: int) -> tf.Tensor:
    return tf.bitwise.bitwise_xor(bits, tf.bitwise.right_shift(bits, tf.constant(shift, tf.uint64)))
