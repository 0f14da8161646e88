"""The operating point of a model: below which distance two images count as of one class.

`operating_point.json` lies beside the verdict of the Evaluator and, from there, in the version that
is served. Nothing here needs TensorFlow.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from modules.settings import Settings
from modules.storage import read_text

OPERATING_POINT_FILE = "operating_point.json"

Rate = Annotated[float, Field(ge=0, le=1)]
# JSON has lists only.
Ends = Annotated[tuple[float, float], BeforeValidator(tuple)]


class OperatingPoint(Settings):
    """The contents of `operating_point.json`.

    Two images count as of one class when the squared L2 distance of their embeddings is below
    `threshold`; as embeddings have the length 1, that is a cosine similarity above `similarity`.

    Attributes:
        threshold: Squared L2 distance, 0 to 4: the largest with a false accept rate of at most
            `false_accept_rate`.
        similarity: The same as cosine similarity, 1 − threshold / 2.
        distance: What the threshold is a value of.
        false_accept_rate: What was asked for.
        measured_false_accept_rate: Accepted pairs of two classes / pairs of two classes.
        true_accept_rate: Accepted pairs of one class / pairs of one class.
        threshold_interval: If other classes had been evaluated; None where it cannot be told, as
            the other two.
        measured_false_accept_rate_interval: Of the false accept rate at this threshold.
        true_accept_rate_interval: Of the true accept rate at this threshold.
        level: Part of such intervals that hold the true value.
        impostor_pairs: How many pairs of two classes there were, of a query and a neighbour.
        genuine_pairs: How many pairs of one class.
        splits: The queries.
        gallery_split: What they searched in; None: the queries themselves.
    """

    threshold: float = Field(ge=0)
    similarity: float
    distance: Literal["squared_l2"] = "squared_l2"
    false_accept_rate: Rate
    measured_false_accept_rate: Rate
    true_accept_rate: Rate
    threshold_interval: Ends | None
    measured_false_accept_rate_interval: Ends | None
    true_accept_rate_interval: Ends | None
    level: Rate
    impostor_pairs: int
    genuine_pairs: int
    splits: list[str]
    gallery_split: str | None = None


class ThresholdShift(Settings):
    """How far the threshold is from that of the last blessed model.

    Attributes:
        stored: Its threshold as it was stored with it, which applications use; None if it has none
            at this false accept rate.
        from_stored: |threshold − stored| / stored.
        baseline: Its threshold on the data of this evaluation; None without such a model.
        from_baseline: |threshold − baseline| / baseline.
    """

    stored: float | None = None
    from_stored: float | None = None
    baseline: float | None = None
    from_baseline: float | None = None


def operating_point_path(folder: str) -> str:
    """Where the operating point lies: of a blessing by its uri, or of a pushed version."""
    return f"{folder.rstrip('/')}/{OPERATING_POINT_FILE}"


def read_operating_point(folder: str) -> OperatingPoint | None:
    """Reads the operating point of a pushed version, or of a verdict.

    Args:
        folder: The version folder, or the uri of Evaluator's `blessing`.

    Returns:
        None if the model was evaluated without a false accept rate.

    Raises:
        OSError: It cannot be read.
        pydantic.ValidationError: It is not of this version.
    """
    try:
        return OperatingPoint.model_validate_json(read_text(operating_point_path(folder)))
    except FileNotFoundError:
        return None
