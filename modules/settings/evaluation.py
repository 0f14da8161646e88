"""The table `[evaluation]`: metrics and the gate."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.contract import ID, LABEL
from modules.retrieval import (
    WITHOUT_DIRECTION,
    metric_range,
    score_names,
    slice_threshold_names,
    threshold_names,
)
from modules.settings.base import Settings

# What a metric can be at all is checked by its name.
Bound = Annotated[float | None, Field(ge=-1, le=1e12, allow_inf_nan=False)]
Drop = Annotated[float | None, Field(ge=0, le=1e12, allow_inf_nan=False)]
Confidence = Literal["jackknife", "poisson_bootstrap"]


class Threshold(Settings):
    """What one metric must reach for a candidate to be blessed; each bound is inclusive.

    "Worse" is lower, or higher for the metrics in `modules.retrieval.LOWER_IS_BETTER`. A first
    model has nothing to be worse than: it passes `max_drop`, `max_relative_drop`, `no_worse` and
    `better`.

    `max_drop` looks at the change itself, which chance moves. `no_worse` and `better` look at its
    interval, so they are for scores of queries only: `no_worse` passes if all of the interval is
    better than -`no_worse`, `better` if all of it is better than 0. An interval that holds this
    bound has too few queries to tell, and `undecided` says what then.
    """

    lower: Annotated[Bound, Field(description="the least value")] = None
    upper: Annotated[Bound, Field(description="the largest value")] = None
    max_drop: Annotated[
        Drop, Field(description="how much worse than the last blessed model it may be")
    ] = None
    max_relative_drop: Annotated[Drop, Field(description="the same as a fraction")] = None
    no_worse: Annotated[
        float | None,
        Field(gt=0, le=1e12, allow_inf_nan=False, description="it is surely not this much worse"),
    ] = None
    better: Annotated[bool, Field(description="it is surely better")] = False
    undecided: Annotated[
        Literal["refuse", "bless"], Field(description="if `no_worse` or `better` cannot be told")
    ] = "refuse"

    @model_validator(mode="after")
    def _something_can_pass(self) -> Threshold:
        bounds = (self.lower, self.upper, self.max_drop, self.max_relative_drop)
        if all(bound is None for bound in bounds) and not self.asks_interval:
            names = ", ".join(name for name in Threshold.model_fields if name != "undecided")
            raise ValueError(f"needs at least one of {names}")
        if "undecided" in self.model_fields_set and not self.asks_interval:
            raise ValueError("undecided has no effect without no_worse or better; remove it")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(
                f"nothing passes with lower = {self.lower} above upper = {self.upper}; swap them "
                "or remove one"
            )
        return self

    def check_range(self, place: str, least: float, largest: float) -> None:
        """Makes sure that a model could pass, and could fail, by the values that a metric can have.

        A `lower` that is the least value, such as 0.0, lets everything pass, and says so.

        Args:
            place: The metric, for the message.
            least: Its least value.
            largest: Its largest one; infinity without.

        Raises:
            ValueError: A bound is beyond.
        """
        for key, bound in (("lower", self.lower), ("upper", self.upper)):
            if bound is not None and not least <= bound <= largest:
                raise ValueError(
                    f"{place}.{key} is {bound:g}, but the metric is from {least:g} to {largest:g}: "
                    "nothing or everything would pass; give a value of this range"
                )
        for key, drop in (("max_drop", self.max_drop), ("no_worse", self.no_worse)):
            if drop is not None and drop > largest - least:
                raise ValueError(
                    f"{place}.{key} is {drop:g}, but the metric cannot change by more than "
                    f"{largest - least:g}: everything would pass; give less"
                )

    @property
    def compares(self) -> bool:
        """Whether it needs the last blessed model."""
        return self.max_drop is not None or self.max_relative_drop is not None

    @property
    def asks_interval(self) -> bool:
        """Whether it needs the interval of the change from the last blessed model."""
        return self.no_worse is not None or self.better


class EvaluationSettings(Settings):
    """`[evaluation]`: the metrics and the gate.

    `thresholds` bind to the whole eval split, `slice_thresholds` to every slice of a feature.
    Features other than `label` must be in the examples, one value of bytes or int64 each: columns
    of a sheet, or features of TFRecords that are in the schema too (`schema_file` is "inferred" or
    one's own). `exclude_same` names those by which images are no neighbours, see docs/metrics.md.
    """

    ks: list[Annotated[int, Field(ge=1, le=10_000)]] = Field(
        [1, 5, 10], min_length=1, max_length=100, description="of the metrics at k"
    )
    slice_by: list[str] = Field([LABEL], description="features")
    gallery_split: Annotated[
        str | None,
        Field(
            min_length=1, description="split to search in, train or gallery; default: eval itself"
        ),
    ] = None
    exclude_same: list[str] = Field(
        [], max_length=3, description="features: same label and same value is no neighbour"
    )
    verification: Annotated[bool, Field(description="ROC AUC, TAR at FAR, EER of pairs")] = False
    false_accept_rate: Annotated[
        float | None,
        Field(gt=0, lt=1, description="finds the operating point, the threshold with this FAR"),
    ] = None
    max_threshold_shift: Annotated[
        float | None,
        Field(
            gt=0,
            le=100,
            allow_inf_nan=False,
            description="how far that may be from the last blessed model's, as a fraction of it",
        ),
    ] = None
    clustering: Annotated[bool, Field(description="NMI and AMI of k-means")] = False
    confidence: Annotated[
        Confidence | None, Field(description="how 95% intervals are estimated; default: not")
    ] = None
    change_level: float = Field(
        0.95, ge=0.5, lt=1, description="part of the intervals of changes that hold the true change"
    )
    thresholds: dict[str, Threshold] = Field(
        {"precision@1": Threshold(lower=0.5, max_drop=0.01)}, min_length=1
    )
    slice_thresholds: dict[str, dict[str, Threshold]] = Field({}, description="by feature")

    @model_validator(mode="after")
    def _something_is_left_to_find(self) -> EvaluationSettings:
        if useless := sorted({ID, LABEL} & set(self.exclude_same)):
            raise ValueError(
                f"exclude_same has {', '.join(useless)}: a query looks for its label, and never "
                "finds its own id; name other features, such as 'camera'"
            )
        if len(set(self.exclude_same)) < len(self.exclude_same):
            raise ValueError("exclude_same names a feature twice; remove one")
        return self

    @model_validator(mode="after")
    def _operating_point_has_pairs(self) -> EvaluationSettings:
        if self.false_accept_rate is not None and not self.verification:
            raise ValueError(
                "false_accept_rate is a rate of pairs, which verification counts; set "
                "verification = true, or remove it"
            )
        if self.max_threshold_shift is not None and self.false_accept_rate is None:
            raise ValueError(
                "max_threshold_shift binds the threshold that false_accept_rate finds; set one, "
                "such as 0.001, or remove it"
            )
        return self

    @property
    def features(self) -> set[str]:
        """Features that the evaluation reads besides those of every example."""
        return {*self.slice_by, *self.exclude_same} - {ID, LABEL}

    @model_validator(mode="after")
    def _thresholds_bind_to_something(self) -> EvaluationSettings:
        # TFMA silently blesses nothing where a threshold has a name that no metric has.
        has_point = self.false_accept_rate is not None
        known = threshold_names(self.ks, self.verification, self.clustering, has_point)
        of_slices = slice_threshold_names(self.ks, has_point)
        tables = [("thresholds", self.thresholds, known)] + [
            (f"slice_thresholds.{feature}", table, of_slices)
            for feature, table in self.slice_thresholds.items()
        ]
        for name, table, allowed in tables:
            if unknown := sorted(set(table) - set(allowed)):
                raise ValueError(
                    f"no metric {', '.join(unknown)} to put into {name}; there are {allowed}"
                )
            for metric, threshold in table.items():
                threshold.check_range(f"{name}.{metric}", *metric_range(metric))
            for metric in sorted(WITHOUT_DIRECTION & set(table)):
                if table[metric].compares:
                    raise ValueError(
                        f"{name}.{metric}: neither way is better, so it has no max_drop and no "
                        "max_relative_drop; give it lower and upper"
                    )
            of_queries = score_names(self.ks)
            for metric, threshold in table.items():
                if threshold.asks_interval and metric not in of_queries:
                    raise ValueError(
                        f"{name}.{metric}: its change has no interval, so it has no no_worse and "
                        f"no better; give it max_drop, or take one of {of_queries}"
                    )
        if missing := sorted(set(self.slice_thresholds) - set(self.slice_by)):
            raise ValueError(
                f"slice_thresholds has {', '.join(missing)}, which is not in slice_by "
                f"({', '.join(self.slice_by)})"
            )
        return self

    @property
    def asks_interval(self) -> bool:
        """Whether a threshold needs the interval of a change."""
        tables = [self.thresholds, *self.slice_thresholds.values()]
        return any(threshold.asks_interval for table in tables for threshold in table.values())
