"""The table `[retraining]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from modules.settings import Settings


class RetrainingSettings(Settings):
    """`[retraining]`: the unattended runs of `python -m pipeline retrain`.

    Other runs ignore it, but for `tolerated_drop` (see [operations](operations.md)) and for
    `false_promotions_per_year`, whose level of intervals replaces `[evaluation] change_level`: a
    gate asked every night has 365 chances a year to take luck for progress.
    """

    alert_after: Annotated[
        int,
        Field(
            ge=1, le=10**6, description="rejected models in a row that make the exit code an alarm"
        ),
    ] = 3
    hours_per_run: Annotated[
        float, Field(gt=0, le=24 * 30, description="a run that takes longer is ended")
    ] = 24
    false_promotions_per_year: Annotated[
        float | None,
        Field(
            gt=0,
            le=10**6,
            allow_inf_nan=False,
            description="so many blessings by chance; default: any number",
        ),
    ] = None
    runs_per_year: Annotated[
        int, Field(ge=1, le=10**6, description="how often the schedule runs, for the number above")
    ] = 365
    tolerated_drop: Annotated[
        float | None,
        Field(
            ge=0,
            lt=1,
            description="of P@1 and MAP@R: a new span on which the served model has surely not "
            "dropped by more is skipped; default: train on every span",
        ),
    ] = None
    max_skips: Annotated[
        int,
        Field(
            ge=1,
            le=10**6,
            description="spans in a row that may be skipped; the next one is trained",
        ),
    ] = 10
    log_megabytes: Annotated[
        float, Field(ge=0.001, le=10**6, description="size of one log file")
    ] = 10
    log_files: Annotated[int, Field(ge=1, le=1000, description="older log files to keep")] = 10

    @model_validator(mode="after")
    def _budget_fits_the_runs(self) -> RetrainingSettings:
        if self.false_promotions_per_year is None:
            if "runs_per_year" in self.model_fields_set:
                raise ValueError(
                    "runs_per_year has no effect without false_promotions_per_year; set it too, or "
                    "remove both"
                )
        elif self.false_promotions_per_year > (most := self.runs_per_year / 4):
            raise ValueError(
                f"false_promotions_per_year = {self.false_promotions_per_year} is more than one in "
                f"four of {self.runs_per_year} runs; give at most {most:g}"
            )
        return self

    @model_validator(mode="after")
    def _skips_are_asked_for(self) -> RetrainingSettings:
        if self.tolerated_drop is None and "max_skips" in self.model_fields_set:
            raise ValueError(
                "max_skips has no effect without tolerated_drop: every span is trained on; set it "
                "too, such as tolerated_drop = 0.01, or remove max_skips"
            )
        return self

    @property
    def change_level(self) -> float | None:
        """The level of intervals that keeps `false_promotions_per_year`; None without it.

        One end of an interval of level L errs in (1 − L) / 2 of the runs in which nothing has
        changed. A model has to pass all thresholds, so several of them never make it more.
        """
        if self.false_promotions_per_year is None:
            return None
        return 1 - 2 * self.false_promotions_per_year / self.runs_per_year
