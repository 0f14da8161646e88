"""What the comparison with the last blessed model found: `compatibility.json` and `churn.json`.

Both lie beside `evaluation.json`. Nothing here needs TensorFlow or Beam.
"""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import BeforeValidator, Field

from modules.gate import Failure
from modules.settings import Settings, Verdict
from modules.storage import read_text

COMPATIBILITY_FILE = "compatibility.json"
CHURN_FILE = "churn.json"
COMPATIBILITY_FOLDER = "compatibility"  # beside the verdict, and beside the pushed model
MAP_FILE = "map.npy"

# JSON has no NaN: such a figure is null in the file, and NaN again when it is read.
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]


class Way(Settings):
    """Queries by one model in the gallery of one model.

    Attributes:
        precision_at_1: P@1.
        map_at_r: MAP@R.
        negative_flips: Share of queries that the old model in its own gallery has right, and this
            way has wrong.
        positive_flips: The other way round.
    """

    precision_at_1: Figure
    map_at_r: Figure
    negative_flips: Figure
    positive_flips: Figure


class CompatibilityReport(Settings):
    """The contents of `compatibility.json`.

    Attributes:
        verdict: What an index of the old model's vectors needs: `keep`, `map` or `re_embed`.
        why: A sentence.
        queries: How many were scored.
        own: The old model in its own gallery; nothing flips there.
        ways: By verdict: new queries in the old gallery, the same queries mapped, and the new
            model in its own gallery. Where the dimensions differ there is the last alone.
        dimensions: Of the old model's embedding and of the new one's.
        map_images: How many images the map was learnt from; 0 without one.
        baseline: Fingerprint of the old model, `modules.index.model_fingerprint`.
        candidate: Of the new one.
        failures: The thresholds of `[compatibility]` that were not met.
    """

    verdict: Verdict
    why: str
    queries: int
    own: Way
    ways: dict[Verdict, Way]
    dimensions: list[int]
    map_images: int
    baseline: str
    candidate: str
    failures: list[Failure] = Field([])


class ChurnReport(Settings):
    """The contents of `churn.json`: logged queries by the last blessed model and by the new one.

    Each model searches in its own gallery of the same images.

    Attributes:
        queries: How many could be used.
        unusable: Files that are no image, or images that cannot be decoded.
        k: How many results were compared.
        changed: Share of queries whose first result is another image.
        overlap: Mean part of the k results of the one that are among those of the other.
        outside_before: Share of queries outside of the gallery's distribution, by the old model:
            the nearest image is farther than `limit_before`, squared L2.
        outside: The same by the new one, and its `limit`.
        limit_before, limit: The quantile of the distances from images of the gallery to their own
            nearest neighbour.
        failures: The thresholds of `[compatibility]` that were not met.
    """

    queries: int
    unusable: int
    k: int
    changed: Figure
    overlap: Figure
    outside_before: Figure
    outside: Figure
    limit_before: Figure
    limit: Figure
    failures: list[Failure] = Field([])


def compatibility_path(folder: str) -> str:
    """Where `compatibility.json` lies: of an evaluation by its uri, or of a pushed version.

    In a version it is `compatibility/compatibility.json`: give that folder.
    """
    return f"{folder.rstrip('/')}/{COMPATIBILITY_FILE}"


def churn_path(evaluation: str) -> str:
    """Where `churn.json` lies, by the uri of Evaluator's `evaluation`."""
    return f"{evaluation.rstrip('/')}/{CHURN_FILE}"


def read_compatibility(folder: str) -> CompatibilityReport | None:
    """Reads `compatibility.json`; see `compatibility_path` for the folder.

    Returns:
        None if the model was compared with none.

    Raises:
        OSError: It cannot be read.
        pydantic.ValidationError: It is not of this version.
    """
    try:
        return CompatibilityReport.model_validate_json(read_text(compatibility_path(folder)))
    except FileNotFoundError:
        return None


def read_churn(evaluation: str) -> ChurnReport | None:
    """Reads `churn.json`, by the uri of Evaluator's `evaluation`.

    Returns:
        None if no queries are logged, or the model was compared with none.

    Raises:
        OSError: It cannot be read.
        pydantic.ValidationError: It is not of this version.
    """
    try:
        return ChurnReport.model_validate_json(read_text(churn_path(evaluation)))
    except FileNotFoundError:
        return None
