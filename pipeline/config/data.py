"""The table `[data]`: where the images are."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import Field, model_validator

from components.spans import LateSpans, SpanPattern, date_to_span
from modules.contract import GALLERY
from modules.settings import MAX_PIXELS, Fraction, Settings
from pipeline.config.paths import DataPath, ProjectPath


class DataSettings(Settings):
    """`[data]`: where the labelled images are and how they are split.

    `train` and `eval` are glob patterns under `path` for `split = "given"`; `pattern` is the one
    for the splits by hash. They default to `train/*`, `eval/*` and `*` for TFRecord files, and to
    one level deeper for images in class folders.
    Patterns with `{SPAN}`, or `{YYYY}`, `{MM}` and `{DD}`, read one span per run, see
    `components.spans.patterns`.

    Images with a label that `distractors` names are nobody's right answer: only the Evaluator reads
    them, see docs/metrics.md.

    Of sheets (`csv`, `parquet`) `given` is what the column `split` says, `train` or `eval`, unless
    `train` and `eval` name a sheet each; `pattern` is by default `*.csv` or `*.parquet`.
    """

    path: Annotated[DataPath, Field(description="folder of the images, sheets or TFRecord files")]
    format: Annotated[
        Literal["images", "csv", "parquet", "tfrecord"],
        Field(description="image files in class folders, sheets of paths and labels, or TFRecord"),
    ] = "tfrecord"
    split: Annotated[
        Literal["given", "hash", "class_disjoint"],
        Field(description="as the data says; by hash of the id; or by hash of the class"),
    ] = "given"
    train: Annotated[str | None, Field(description="glob pattern, with `given`")] = None
    eval: Annotated[str | None, Field(description="glob pattern, with `given`")] = None
    gallery: Annotated[
        str | None,
        Field(description="glob pattern, with `given`: what `[evaluation] gallery_split` searches"),
    ] = None
    pattern: Annotated[
        str | None, Field(description="glob pattern, with the other splits; of sheets with all")
    ] = None
    eval_fraction: Annotated[
        float, Field(ge=0.001, le=0.999, description="of the images, or of the classes")
    ] = 0.2
    distractors: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="labels of images that no query looks for: in the gallery, and nowhere else"
    )
    corrections: Annotated[
        ProjectPath | None,
        Field(description="a CSV file of images to drop or relabel, see docs/audit.md"),
    ] = None
    max_undecodable_fraction: Annotated[
        Fraction, Field(description="of the images; above it the run stops")
    ] = 0.01
    max_pixels: Annotated[
        int,
        Field(
            ge=1,
            le=2**31 - 1,
            description="width × height; a larger image counts as undecodable, and the served "
            "model refuses it",
        ),
    ] = MAX_PIXELS
    schema_file: Annotated[
        Literal["contract", "inferred"] | ProjectPath,
        Field(description="of the data contract, from the statistics, or a file of your own"),
    ] = "contract"
    window: Annotated[
        int, Field(ge=1, le=100_000, description="spans to train on, the last ones")
    ] = 1
    late_spans: Annotated[
        LateSpans,
        Field(
            description="that arrive after a later one was read, and new versions of older ones: "
            "warn and leave them out, read them first, or fail"
        ),
    ] = "warn"
    evaluation_span: Annotated[
        Annotated[int, Field(ge=-(2**31), le=2**31)] | datetime.date | None,
        Field(description="the span to evaluate on, a number or a day; default: the window"),
    ] = None

    @property
    def patterns(self) -> dict[str, str]:
        """Glob pattern by name of input split; one named `all` if this pipeline does the split."""
        if self.is_sheet and not (self.train and self.eval):
            return {"all": self.pattern or f"*.{self.format}"}
        deeper = "/*" if self.format == "images" else ""
        if self.split == "given":
            return {
                "train": self.train or f"train/*{deeper}",
                "eval": self.eval or f"eval/*{deeper}",
                **({GALLERY: self.gallery} if self.gallery else {}),
            }
        return {"all": self.pattern or f"*{deeper}"}

    @property
    def is_sheet(self) -> bool:
        """Whether a sheet names the images."""
        return self.format in ("csv", "parquet")

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
        named = {"train", "eval"} & self.model_fields_set
        if self.is_sheet and self.split == "given" and len(named) == 1:
            raise ValueError(
                f"{named.pop()} has no effect without the other of train and eval: name a sheet "
                "for each, or remove it and let the column split say it"
            )
        if self.is_sheet and self.gallery and not named:
            raise ValueError(
                "gallery has no effect without train and eval: name a sheet for each, or let the "
                "column is_gallery of the one sheet say what is searched"
            )
        given = {"train", "eval", "gallery"}
        unused = {"pattern", "eval_fraction"} if self.split == "given" else given
        if self.is_sheet and not named:
            unused -= {"pattern"}
        if unused := unused & self.model_fields_set:
            raise ValueError(
                f"{', '.join(sorted(unused))} has no effect with format = '{self.format}' and "
                f"split = '{self.split}'; remove it"
            )
        return self

    @model_validator(mode="after")
    def _distractors_differ(self) -> DataSettings:
        if len(set(self.distractors)) < len(self.distractors):
            raise ValueError("distractors names a label twice; remove one")
        return self

    @model_validator(mode="after")
    def _spans_fit(self) -> DataSettings:
        patterns = [SpanPattern.parse(pattern) for pattern in self.patterns.values()]
        if len({pattern.kind for pattern in patterns}) > 1:
            raise ValueError(
                f"{' and '.join(self.patterns)} must have the same placeholders for spans"
            )
        if not self.has_spans:
            if unused := {"window", "evaluation_span", "late_spans"} & self.model_fields_set:
                raise ValueError(
                    f"{', '.join(sorted(unused))} has no effect without spans; remove it, or put "
                    "{SPAN} or {YYYY}-{MM}-{DD} into the patterns, such as 'span-{SPAN}/*/*'"
                )
        elif self.evaluation_span is not None:
            dates = patterns[0].has_dates
            if (
                isinstance(self.evaluation_span, datetime.date) != dates
                or (self.fixed_span or 0) < 0
            ):
                wanted = "a day, such as 2026-01-31," if dates else "a number, at least 0,"
                raise ValueError(
                    f"evaluation_span is {self.evaluation_span}, expected {wanted} with these "
                    "patterns"
                )
        return self
