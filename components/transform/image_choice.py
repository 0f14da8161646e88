"""What the network sees of the images, where `[image]` does not say: chosen from the statistics."""

from __future__ import annotations

from typing import NamedTuple

from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import standard_artifacts

from modules.contract import IMAGE
from modules.settings import ImageLimits, ImageSettings, ImageTable

TRAIN = "train"
_STEP = 4  # networks halve the sides twice; a multiple loses no row at the edge
_LARGEST = 4096  # of `ImageSettings`
_SLIMMEST = 0.5  # the short side by the long one


class TypicalImage(NamedTuple):
    """The median of each, over the images of a split. Channels do not count alpha: 1 or 3."""

    height: float
    width: float
    channels: float


def choose_image(table: ImageTable, typical: TypicalImage, limits: ImageLimits) -> ImageSettings:
    """Fills in what is not given.

    Channels: 1 if the typical image is grey, with or without alpha, else 3. Sides: those of the
    typical image, scaled together. It is scaled down until no side is longer than `limits.most`,
    or up until none is shorter than `limits.least`; if one side is given, so that it fits this
    one. An image more than twice as long as it is short is taken to be twice as long, since a side
    of few pixels shows nothing. What was changed is rounded to a multiple of 4; what was not, such
    as 28 × 28, stays, so that images of this size are not resampled.

    Args:
        table: What is given; it is kept as it is.
        typical: Of the train split.
        limits: Of the network. `most` is a multiple of 4 and at least twice `least`.

    Example:
        >>> limits = ImageLimits(least=10, most=64)
        >>> choose_image(ImageTable(channels=1, height=30), TypicalImage(300, 400, 3), limits)
        ImageSettings(height=30, width=40, channels=1, background='white')
    """
    long = max(typical.height, typical.width)
    height, width = (max(side, _SLIMMEST * long) for side in (typical.height, typical.width))
    if table.height is not None:
        scale = table.height / height
    elif table.width is not None:
        scale = table.width / width
    else:
        scale = max(min(1.0, limits.most / max(height, width)), limits.least / min(height, width))

    def side(given: int | None, scaled: float, seen: float) -> int:
        if given is not None:
            return given
        if scaled == seen and limits.least <= scaled <= _LARGEST:
            return int(seen)
        least = -(-limits.least // _STEP) * _STEP
        return min(max(round(scaled / _STEP) * _STEP, least), _LARGEST)

    return ImageSettings(
        height=side(table.height, scale * height, typical.height),
        width=side(table.width, scale * width, typical.width),
        channels=table.channels or (1 if typical.channels <= 2 else 3),
        background=table.background,
    )


def read_typical_image(statistics: standard_artifacts.ExampleStatistics) -> TypicalImage:
    """Reads the medians of the train split.

    Args:
        statistics: As our StatisticsGen writes them, with features derived from the images.

    Raises:
        ValueError: They have no such features.
    """
    view = stats_artifact_utils.load_statistics(statistics, TRAIN).get_default_slice_or_die()

    def median(name: str) -> float:
        feature = view.get_feature(f"{IMAGE}/{name}")
        numbers = feature.numeric_statistics() if feature else None
        if numbers is None or not numbers.common_stats.num_non_missing:
            raise ValueError(
                f"The statistics {statistics.uri} know no {IMAGE}/{name} of the split {TRAIN!r}, "
                "so the size of the images cannot be chosen. See whether its images can be "
                "decoded, or set height, width and channels of [image]."
            )
        return float(numbers.median)

    return TypicalImage(median("height"), median("width"), median("channels"))
