"""The table `[triplets]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.settings.base import Settings

Strategy = Literal["random", "class_balanced", "semi_hard", "hard"]
Positives = Literal["random", "hard"]
Validation = Literal["auto", "images", "classes"]


class TripletSettings(Settings):
    """`[triplets]`: how TripletGen samples; `docs/triplet-gen.md` says what each choice is for."""

    strategy: Annotated[Strategy, Field(description="how the negative is chosen")] = "random"
    positives: Annotated[Positives, Field(description="how the positive is chosen")] = "random"
    triplets_per_anchor: Annotated[int, Field(ge=1, le=1000, description="of each anchor")] = 3
    max_per_class: Annotated[int, Field(ge=0, description="anchors; 0 for no limit")] = 0
    seed: Annotated[int, Field(ge=0, description="of all random choices")] = 0
    bucket_size: Annotated[int, Field(ge=2, description="examples")] = 4096
    validation: Annotated[
        Validation,
        Field(
            description="what is held out of the train split; `auto`: classes if no class of the "
            "eval split is in the train split, else images"
        ),
    ] = "auto"
    validation_fraction: Annotated[
        float, Field(gt=0, le=0.5, description="of the images of the train split")
    ] = 0.1
    validation_images: Annotated[
        int, Field(ge=2, description="hold out no more than about so many")
    ] = 2000
    rounds_on_same_data: Annotated[
        int, Field(ge=0, description="how often a new model mines again without new data")
    ] = 1

    @property
    def mines_negatives(self) -> bool:
        """Whether negatives are chosen by their embeddings."""
        return self.strategy in ("semi_hard", "hard")

    @property
    def needs_model(self) -> bool:
        """Whether an earlier model takes part in the sampling."""
        return self.mines_negatives or self.positives == "hard"

    @property
    def of_triplets(self) -> set[str]:
        """The keys that only batches of triplets heed."""
        return set(type(self).model_fields) - {
            "seed", "bucket_size", "validation", "validation_fraction", "validation_images"
        }  # fmt: skip

    def without_model(self) -> TripletSettings:
        """The same settings, with everything that needs a model drawn at random."""
        strategy = "random" if self.mines_negatives else self.strategy
        return self.model_copy(update={"strategy": strategy, "positives": "random"})

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> TripletSettings:
        if "rounds_on_same_data" in self.model_fields_set and not self.needs_model:
            raise ValueError(
                "rounds_on_same_data has no effect unless an earlier model mines: set strategy to "
                "'semi_hard' or 'hard', or positives to 'hard', or remove it"
            )
        if self.mines_negatives and self.positives == "hard" and self.triplets_per_anchor > 1:
            raise ValueError(
                f"with strategy = {self.strategy!r} and positives = 'hard' an anchor has one "
                f"triplet, so triplets_per_anchor = {self.triplets_per_anchor} would write it more "
                "than once. Set triplets_per_anchor = 1 or positives = 'random'"
            )
        return self
