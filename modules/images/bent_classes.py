"""Classes bent out of shape, which training learns as classes of their own.

A face with a longer nose is another person's, a character with a stroke bent is another character.
So the images of one class, all bent alike, are those of a new class, and there is another one in
every step: few classes cannot be learnt by heart. What differs between the images of a class stays
as it is. It goes on where `turned_classes` ends, which knows at most eight of each class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import tensorflow as tf

from modules.images.turned_classes import mix, mix_of_step

# Half waves along the height and along the width, together at most so many.
_WAVES = [(i, j) for i in range(4) for j in range(4) if 1 <= i + j <= 3]
_AMOUNTS = 2 * len(_WAVES)
# One class of so many stays as it is, so that straight images are seen too.
_STRAIGHT = 4
# Makes draws of a step that have nothing to do with its orientations.
_BENDS = 0xD1B54A32D192ED03


class Bends(NamedTuple):
    """How each image of a batch is bent.

    Attributes:
        labels: Of the classes that come of it, int64 [N].
        amounts: Of each wave, down and to the right, float32 [N, 18]; 0 where nothing is bent.
    """

    labels: tf.Tensor
    amounts: tf.Tensor


def draw_bends(labels: tf.Tensor, seed: tf.Tensor, row_seed: tf.Tensor) -> Bends:
    """Draws how images are bent in one step.

    The images of a class are parted at random in two halves, which are bent in two ways: two
    classes that look alike, as the hardest ones of a set do. How, depends on the label, the half
    and the seed of the step alone, so that replicas that hold images of one class agree.

    Args:
        labels: int64 [N], fingerprints.
        seed: int64 [2], of the step.
        row_seed: int64 [2], of the step on this replica; parts the halves.

    Returns:
        Labels and amounts, equal for equal labels and halves. A half that stays straight keeps the
        label of its class; that of a bent one comes in no other step.
    """
    half = tf.random.stateless_uniform(tf.shape(labels), row_seed, 0, 2, tf.int32)
    of_step = mix_of_step(seed) ^ tf.constant(_BENDS, tf.uint64)
    bits = mix(mix(tf.bitcast(labels, tf.uint64) ^ of_step) + tf.cast(half, tf.uint64))
    numbers = tf.cast(tf.range(_AMOUNTS + 1), tf.uint64)
    # The upper 31 bits of each draw, to −1…1.
    draws = tf.bitwise.right_shift(mix(bits[:, None] ^ mix(numbers)), tf.constant(33, tf.uint64))
    uniform = tf.cast(tf.bitcast(draws, tf.int64), tf.float32) / 2.0**30 - 1
    straight = uniform[:, 0] < 2 / _STRAIGHT - 1
    return Bends(
        tf.where(straight, labels, tf.bitcast(bits, tf.int64)),
        tf.where(straight[:, None], 0.0, uniform[:, 1:]),
    )


def bend(images: tf.Tensor, amounts: tf.Tensor, most: float) -> tf.Tensor:
    """Bends images by waves along their height and their width.

    What is seen at (y, x), both in 0…1, was at (y, x) + d before, with the amounts a and

        d = most · √3 · Σ_ij a_ij · cos(π·i·y) · cos(π·j·x) / (i + j),  1 ≤ i + j ≤ 3

    for y and for x, as shares of the side. So a half wave along one side moves the edges by `most`,
    in the square mean over the draws. The nearest edge pixel fills what comes into view, and
    between pixels the image is linear.

    Args:
        images: float32 [N, H, W, C].
        amounts: Of `draw_bends`.
        most: A share of height and of width.

    Returns:
        float32 [N, H, W, C].
    """
    shape = tf.shape(images)
    height, width = shape[1], shape[2]
    rows, columns = tf.range(height), tf.range(width)
    waves = tf.stack(
        [
            math.sqrt(3) / (i + j) * _half_waves(i, height)[:, None] * _half_waves(j, width)
            for i, j in _WAVES
        ]
    )
    down, right = (
        most * tf.cast(side, tf.float32) * tf.tensordot(part, waves, 1)
        for side, part in zip((height, width), tf.split(amounts, 2, axis=1), strict=True)
    )  # [N, H, W]
    top, low, share_y = _between(tf.cast(rows, tf.float32)[:, None] + down, height)
    left, far, share_x = _between(tf.cast(columns, tf.float32) + right, width)
    pixels = tf.reshape(images, [-1, shape[3]])
    first = tf.range(shape[0])[:, None, None] * height

    def seen(y: tf.Tensor, x: tf.Tensor) -> tf.Tensor:
        return tf.gather(pixels, (first + y) * width + x)

    above = seen(top, left) + share_x * (seen(top, far) - seen(top, left))
    below = seen(low, left) + share_x * (seen(low, far) - seen(low, left))
    return above + share_y * (below - above)


def _half_waves(number: int, side: tf.Tensor) -> tf.Tensor:
    """cos(π · number · t) at the middle of each pixel of a side, float32 [side]."""
    length = tf.cast(side, tf.float32)
    return tf.cos(math.pi * number * (tf.range(length) + 0.5) / length)


def _between(place: tf.Tensor, side: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """The pixels before and behind each place, int32 [N, H, W], and the share of the second."""
    place = tf.clip_by_value(place, 0.0, tf.cast(side - 1, tf.float32))
    before = tf.floor(place)
    number = tf.cast(before, tf.int32)
    return number, tf.minimum(number + 1, side - 1), (place - before)[..., None]
