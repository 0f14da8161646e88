"""Whether two images show the same, by the threshold that was calibrated with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from modules.gate import OperatingPoint
from pipeline.runtime import ConfigError
from pipeline.served.image_files import ImageFile
from pipeline.served.version import ServedVersion


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Of a pair of images.

    Attributes:
        distance: Squared L2 of their embeddings.
        threshold: They count as of one class if the distance is below.
        point: Where the threshold comes from; None if it was given.
    """

    distance: float
    threshold: float
    point: OperatingPoint | None

    @property
    def same(self) -> bool:
        """Whether they count as of one class."""
        return self.distance < self.threshold


def squared_distance(one: np.ndarray, other: np.ndarray) -> float:
    """Of two vectors, float32 [D], by the definition: it is exactly 0 for equal ones."""
    return float(np.square(one - other).sum())


def verify_images(
    version: ServedVersion, images: Sequence[ImageFile], threshold: float | None = None
) -> Verdict:
    """Compares two images.

    Args:
        version: That embeds them.
        images: Two files.
        threshold: In place of the calibrated one.

    Raises:
        VersionError: The version has no operating point, and no threshold is given.
        ConfigError: An image cannot be used.
    """
    point = None if threshold is not None else version.require_operating_point()
    embedded = version.embed([image.content for image in images])
    faults = embedded.faults | {n: image.fault for n, image in enumerate(images) if image.fault}
    for number, fault in sorted(faults.items()):
        raise ConfigError(f"{images[number].path} cannot be compared: {fault}.")
    limit = point.threshold if point else float(threshold or 0)
    return Verdict(squared_distance(*embedded.vectors), limit, point)


def describe_verdict(verdict: Verdict) -> list[str]:
    """What `verify` prints."""
    word, side = ("the same", "below") if verdict.same else ("not the same", "not below")
    lines = [
        f"{word}: squared distance {verdict.distance:.4f}, {side} the threshold "
        f"{verdict.threshold:.4f}"
    ]
    if point := verdict.point:
        false = _share(point.measured_false_accept_rate)
        false += _interval(point, point.measured_false_accept_rate_interval)
        true = _share(point.true_accept_rate) + _interval(point, point.true_accept_rate_interval)
        lines.append(
            f"At this threshold {false} of the pairs of two classes count as the same, and {true} "
            "of the pairs of one class."
        )
        lines.append(
            f"Measured on {point.impostor_pairs:,} and {point.genuine_pairs:,} pairs of the "
            f"evaluation of this model, for a rate of {_share(point.false_accept_rate)}."
        )
    return lines


def verdict_values(version: ServedVersion, verdict: Verdict) -> dict[str, Any]:
    """What `verify --json` prints, and what the web application answers."""
    values: dict[str, Any] = {
        "version": version.name,
        "same": verdict.same,
        "distance": verdict.distance,
        "threshold": verdict.threshold,
    }
    if point := verdict.point:
        values |= {
            "false_accept_rate": point.measured_false_accept_rate,
            "false_accept_rate_interval": point.measured_false_accept_rate_interval,
            "true_accept_rate": point.true_accept_rate,
            "true_accept_rate_interval": point.true_accept_rate_interval,
            "level": point.level,
        }
    return values


def _interval(point: OperatingPoint, ends: tuple[float, float] | None) -> str:
    if ends is None:
        return ""
    return f" ({point.level:.0%} interval {_share(ends[0])} to {_share(ends[1])})"


def _share(rate: float) -> str:
    return f"{100 * rate:.3g} %"
