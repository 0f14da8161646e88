"""The table `[report]`: the page that every evaluated model gets."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from modules.settings.base import Settings


class ReportSettings(Settings):
    """`[report]`: one page about every evaluated model, and its model card; see docs/report.md."""

    enabled: Annotated[bool, Field(description="write them, and keep what they show")] = True
    neighbours: Annotated[
        int, Field(ge=1, le=20, description="nearest images to show of each query")
    ] = 10
    map_images: Annotated[
        int,
        Field(ge=0, le=20_000, description="queries in the map, a sample of more; 0 for no map"),
    ] = 20_000

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> ReportSettings:
        if not self.enabled and (others := sorted(self.model_fields_set - {"enabled"})):
            raise ValueError(f"enabled = false, so {', '.join(others)} has no effect; remove it")
        return self
