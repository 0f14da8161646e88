"""The table `[validation]`: when new data is too different."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modules.contract import IMAGE, LABEL
from modules.settings.base import MOST_IMAGES, Fraction, Settings


class ComparatorThresholds(Settings):
    """How far the values of a feature may be from those of other examples; 0 for any distance.

    For `label` it is the largest change of the share of a class (L-infinity norm; a new class
    counts as no change). For the numbers that StatisticsGen derives from the images it is the
    Jensen-Shannon divergence of their histograms, from 0 (same) to 1 (nothing in common). The
    sizes are off unless set: Transform resizes, and where one size is followed by a mixture with
    another one the divergence is 1.
    """

    label: Fraction = 0.0
    brightness: Fraction = 0.0
    contrast: Fraction = 0.0
    width: Fraction = 0.0
    height: Fraction = 0.0
    channels: Fraction = 0.0

    def by_feature(self) -> dict[str, float]:
        """The thresholds by name of the feature, those that are on."""
        return {
            LABEL if name == "label" else f"{IMAGE}/{name}": value
            for name, value in self.model_dump().items()
            if value > 0
        }


class DriftThresholds(ComparatorThresholds):
    """`[validation.drift]`: from the same split of the previous span that passed.

    The defaults let chance pass in spans of 100 digits and more, and stop images that are inverted
    or half as bright.
    """

    label: Fraction = 0.3
    brightness: Fraction = 0.25
    contrast: Fraction = 0.25


class SkewThresholds(ComparatorThresholds):
    """`[validation.skew]`: of train from eval of the same span.

    Off for labels, which differ by design when whole classes are held out. Then brightness differs
    too, so its threshold is higher than that of drift.
    """

    brightness: Fraction = 0.6
    contrast: Fraction = 0.6


class ValidationSettings(Settings):
    """`[validation]`: when new data is too different; comparators in a curated schema go first."""

    drift: DriftThresholds = DriftThresholds()
    skew: SkewThresholds = SkewThresholds()
    min_examples: Annotated[
        int,
        Field(
            ge=1,
            le=MOST_IMAGES,
            description="a split with fewer is not compared by these thresholds",
        ),
    ] = 100
