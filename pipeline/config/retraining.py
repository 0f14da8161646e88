"""The table `[retraining]`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from modules.settings import Settings


class RetrainingSettings(Settings):
    """`[retraining]`: the unattended runs of `python -m pipeline retrain`; other runs ignore it."""

    alert_after: Annotated[
        int, Field(ge=1, description="rejected models in a row that make the exit code an alarm")
    ] = 3
    hours_per_run: Annotated[
        float, Field(gt=0, le=24 * 30, description="a run that takes longer is ended")
    ] = 24
    log_megabytes: Annotated[float, Field(gt=0, description="size of one log file")] = 10
    log_files: Annotated[int, Field(ge=1, le=1000, description="older log files to keep")] = 10
