"""The table `[triplets]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.settings.base import Settings


class TripletSettings(Settings):
    """`[triplets]`: how TripletGen samples."""

    strategy: Literal["random", "class_balanced", "semi_hard", "hard"] = "random"
    positives: Literal["random", "hard"] = "random"
    per_anchor: Annotated[int, Field(ge=1, le=1000)] = 1
    max_per_class: Annotated[int, Field(ge=0, description="anchors; 0 for no limit")] = 0
    seed: Annotated[int, Field(ge=0)] = 0
    bucket_size: Annotated[int, Field(ge=2, description="examples")] = 4096
    rounds_on_same_data: Annotated[
        int, Field(ge=0, description="how often a new model mines again without new data")
    ] = 1

    @property
    def needs_model(self) -> bool:
        """Whether an earlier model takes part in the sampling."""
        return self.strategy in ("semi_hard", "hard") or self.positives == "hard"

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> TripletSettings:
        if "rounds_on_same_data" in self.model_fields_set and not self.needs_model:
            raise ValueError(
                "rounds_on_same_data has no effect unless an earlier model mines: set strategy to "
                "'semi_hard' or 'hard', or positives to 'hard', or remove it"
            )
        mined = self.strategy in ("semi_hard", "hard")
        if mined and self.positives == "hard" and self.per_anchor > 1:
            raise ValueError(
                "with a mined strategy and positives = 'hard' an anchor has one triplet, so "
                f"per_anchor = {self.per_anchor} would write it more than once; set it to 1"
            )
        return self
