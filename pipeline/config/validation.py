"""The table `[validation]`: when new data is too different."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modules.contract import IMAGE, LABEL
from modules.settings import Fraction, Settings


class ComparatorThresholds(Settings):
    """How far the values of a feature may be from those of other examples; 0 for any distance.

    For `label` the largest change of the share of a class (L-infinity norm; a class that is new
    counts as no change); for the numbers that StatisticsGen derives from the images the
    Jensen-Shannon divergence of their histograms, from 0 (same) to 1 (nothing in common). Sizes are
    off unless set: Transform resizes, and after one size a mixture with another (28 pixels, then
    half of them 32) counts as 1.
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


class Drift(ComparatorThresholds):
    """`[validation.drift]`: from the same split of the previous span that passed.

    Real digits differ between spans of 100 (200, 1000) by at most .13 (.10, .03) in label and .11
    (.06, .03) in brightness and contrast, with an outlier by .12. Inverted ones have a brightness
    of 1.0, half as bright ones of .52 and a contrast of .95.
    """

    label: Fraction = 0.3
    brightness: Fraction = 0.25
    contrast: Fraction = 0.25


class Skew(ComparatorThresholds):
    """`[validation.skew]`: of train from eval of the same span.

    Off for labels, which differ by design when whole classes are held out. Two or four digits of
    ten differ from the others by up to .28 in brightness, the digit 1 alone by .54.
    """

    brightness: Fraction = 0.6
    contrast: Fraction = 0.6


class ValidationSettings(Settings):
    """`[validation]`: when new data is too different; comparators in a curated schema go first."""

    drift: Drift = Drift()
    skew: Skew = Skew()
    min_examples: Annotated[
        int, Field(ge=1, description="a split with fewer is not compared by these thresholds")
    ] = 100
