"""The tables of the configuration about data: where it is and when it is too different."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.span_patterns import SpanPattern, date_to_span
from modules.contract import IMAGE, LABEL
from modules.settings import Fraction, Settings
from pipeline.settings import ProjectPath


class DataSettings(Settings):
    """`[data]`: where the labelled images are and how they are split.

    `train` and `eval` are glob patterns under `path` for `split = "given"`; `pattern` is the one
    for the splits by hash. They default to `train/*`, `eval/*` and `*` for record files, and to one
    level deeper for images in class folders.

    Patterns with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, read one span per run, see
    `components.span_patterns`.
    """

    path: ProjectPath
    format: Literal["images", "tfrecord"] = "tfrecord"
    split: Literal["given", "hash", "class_disjoint"] = "given"
    train: str | None = None
    eval: str | None = None
    pattern: str | None = None
    eval_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    max_undecodable_fraction: Fraction = 0.01
    max_pixels: Annotated[int, Field(ge=1)] = 50_000_000
    schema_file: Literal["contract", "inferred"] | ProjectPath = "contract"
    window: Annotated[int, Field(ge=1, description="spans to train on, the last ones")] = 1
    evaluation_span: Annotated[
        int | datetime.date | None,
        Field(description="the span to evaluate on, a number or a day; default: the window"),
    ] = None

    @property
    def patterns(self) -> dict[str, str]:
        """Glob pattern by name of input split; one named `all` if this pipeline does the split."""
        deeper = "/*" if self.format == "images" else ""
        if self.split == "given":
            return {
                "train": self.train or f"train/*{deeper}",
                "eval": self.eval or f"eval/*{deeper}",
            }
        return {"all": self.pattern or f"*{deeper}"}

    @property
    def has_spans(self) -> bool:
        """Whether data arrives in spans."""
        return any(SpanPattern.parse(pattern).has_spans for pattern in self.patterns.values())

    @property
    def fixed_span(self) -> int | None:
        """`evaluation_span` as TFX counts spans: a day is its days since 1970-01-01."""
        span = self.evaluation_span
        return date_to_span(span) if isinstance(span, datetime.date) else span

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> DataSettings:
        unused = {"pattern", "eval_fraction"} if self.split == "given" else {"train", "eval"}
        if self.format == "tfrecord":
            unused |= {"max_undecodable_fraction", "max_pixels"}
        if unused := unused & self.model_fields_set:
            raise ValueError(
                f"{', '.join(sorted(unused))} has no effect with format = '{self.format}' and "
                f"split = '{self.split}'; remove it"
            )
        return self

    @model_validator(mode="after")
    def _spans_fit(self) -> DataSettings:
        patterns = [SpanPattern.parse(pattern) for pattern in self.patterns.values()]
        if len({pattern.kind for pattern in patterns}) > 1:
            raise ValueError("train and eval must have the same placeholders for spans")
        if not self.has_spans:
            if unused := {"window", "evaluation_span"} & self.model_fields_set:
                raise ValueError(
                    f"{', '.join(sorted(unused))} has no effect without spans; remove it, or put "
                    "{SPAN} or {YYYY}-{MM}-{DD} into the patterns, such as 'span-{SPAN}/*/*'"
                )
        elif self.evaluation_span is not None:
            dates = patterns[0].has_dates
            if isinstance(self.evaluation_span, datetime.date) != dates or self.fixed_span < 0:
                wanted = "a day, such as 2026-01-31," if dates else "a number, at least 0,"
                raise ValueError(
                    f"evaluation_span is {self.evaluation_span}, expected {wanted} with these "
                    "patterns"
                )
        return self


class Distances(Settings):
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


class Drift(Distances):
    """`[validation.drift]`: from the same split of the previous span that passed.

    Real digits differ between spans of 100 (200, 1000) by at most .13 (.10, .03) in label and .11
    (.06, .03) in brightness and contrast, with an outlier by .12. Inverted ones have a brightness
    of 1.0, half as bright ones of .52 and a contrast of .95.
    """

    label: Fraction = 0.3
    brightness: Fraction = 0.25
    contrast: Fraction = 0.25


class Skew(Distances):
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
