"""What an evaluation found, for people and programs: `evaluation.json` beside TFMA's files.

TFMA's own files can be read with TFMA only, which takes seconds to load.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Annotated

from pydantic import BeforeValidator, Field

from modules.gate.operating_point import OperatingPoint, ThresholdShift
from modules.runtime import shown
from modules.settings import Settings
from modules.storage import read_text

FILE = "evaluation.json"
OVERALL = "overall"
# Kinds of metrics in an evaluation; the last is candidate − baseline.
CANDIDATE, BASELINE, CHANGE = "candidate", "baseline", "change"

# JSON has no NaN: such a figure is null in the file, and NaN again when it is read.
Figure = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
Metrics = dict[str, dict[str, dict[str, Figure]]]
Intervals = dict[str, dict[str, dict[str, tuple[float, float]]]]


@dataclasses.dataclass(frozen=True)
class Failure:
    """A threshold that was not met.

    Attributes:
        metric: Name of the metric; `thresholds` where a slice is missing that has some.
        slice: `overall`, or such as `label=3`.
        value: The candidate's value; None when the metric was not computed, or is NaN in a file.
        reason: The value, the bound, and by how much it is missed.
    """

    metric: str
    slice: str
    value: float | None
    reason: str

    def __str__(self) -> str:
        """One line for people."""
        return f"{self.metric} ({shown(self.slice)}): {self.reason}"


class EvaluationReport(Settings):
    """The contents of `evaluation.json`.

    `metrics`: `candidate`, and with a baseline `baseline` and `change` → slice → metric → value.
    `intervals`: as `metrics`, but with lower and upper bound in place of the value, for the metrics
    that have them: those of `change` with every baseline, of the level that `interval level` among
    its metrics states; those of the models (95%) if `[evaluation] confidence` asks for them.
    `failures`: the thresholds that were not met, the whole split first.
    `undecided`: those with too few queries to tell, which were passed: `undecided = "bless"`, and
    an operating point that few errors speak for.
    `operating_point`, `shift`: with a false accept rate, see `modules.gate.operating_point`.
    """

    metrics: Metrics
    intervals: Intervals = Field({})
    failures: list[Failure] = Field([])
    undecided: list[Failure] = Field([])
    operating_point: OperatingPoint | None = None
    shift: ThresholdShift | None = None


def report_path(evaluation: str) -> str:
    """Where the report of an evaluation lies, by the uri of Evaluator's `evaluation`."""
    return f"{evaluation.rstrip('/')}/{FILE}"


def read_report(evaluation: str) -> EvaluationReport:
    """Reads the report of an evaluation, by the uri of Evaluator's `evaluation`.

    Raises:
        OSError: It cannot be read; FileNotFoundError if there is none.
        pydantic.ValidationError: It is not of this version.
    """
    return EvaluationReport.model_validate_json(read_text(report_path(evaluation)))
