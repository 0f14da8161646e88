"""The table `[triplets]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from modules.settings.base import MOST_IMAGES, MOST_SEED, Settings

Strategy = Literal["random", "class_balanced", "semi_hard", "hard"]
Positives = Literal["random", "hard"]
Buckets = Literal["hash", "neighbourhood"]
Validation = Literal["auto", "images", "classes"]
Suspects = Literal["leave_out", "keep"]


class TripletSettings(Settings):
    """`[triplets]`: how TripletGen samples; `docs/triplet-gen.md` says what each choice is for."""

    strategy: Annotated[Strategy, Field(description="how the negative is chosen")] = "random"
    positives: Annotated[Positives, Field(description="how the positive is chosen")] = "random"
    triplets_per_anchor: Annotated[int, Field(ge=1, le=1000, description="of each anchor")] = 3
    skip_nearest: Annotated[
        int, Field(ge=0, le=1000, description="of the mined negatives, leave so many nearest out")
    ] = 0
    nearest: Annotated[
        int, Field(ge=1, le=1000, description="and draw among so many next ones")
    ] = 1
    least_ratio: Annotated[
        float,
        Field(
            ge=0,
            le=2,
            description="leave out mined negatives nearer than this times the distance (L2) of the "
            "positive, as probably mislabelled",
        ),
    ] = 0.0
    suspects: Annotated[
        Suspects,
        Field(
            description="images whose label DataAudit doubts, as mined negatives: a wrong label "
            "makes a positive the hardest negative"
        ),
    ] = "leave_out"
    max_per_class: Annotated[
        int, Field(ge=0, le=MOST_IMAGES, description="anchors; 0 for no limit")
    ] = 0
    seed: Annotated[int, Field(ge=0, le=MOST_SEED, description="of all random choices")] = 0
    bucket_size: Annotated[int, Field(ge=2, le=10**7, description="examples")] = 4096
    buckets: Annotated[
        Buckets,
        Field(
            description="which classes share a bucket: any, or those that the last blessed model "
            "confuses"
        ),
    ] = "hash"
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
        int, Field(ge=2, le=MOST_IMAGES, description="hold out no more than about so many")
    ] = 2000
    rounds_on_same_data: Annotated[
        int, Field(ge=0, le=10**6, description="how often a new model mines again without new data")
    ] = 1

    @property
    def mines_negatives(self) -> bool:
        """Whether negatives are chosen by their embeddings."""
        return self.strategy in ("semi_hard", "hard")

    @property
    def mines(self) -> bool:
        """Whether negatives or positives are chosen by their embeddings."""
        return self.mines_negatives or self.positives == "hard"

    @property
    def of_triplets(self) -> set[str]:
        """The keys that only batches of triplets heed."""
        return set(type(self).model_fields) - {
            "seed", "bucket_size", "validation", "validation_fraction", "validation_images"
        }  # fmt: skip

    @property
    def heeds_suspects(self) -> bool:
        """Whether it matters which labels are doubtful."""
        return self.mines_negatives and self.suspects == "leave_out"

    @property
    def needs_model(self) -> bool:
        """Whether an earlier model takes part."""
        return self.mines or self.buckets == "neighbourhood"

    def without_model(self) -> TripletSettings:
        """The same settings, with everything that needs a model drawn at random."""
        strategy = "random" if self.mines_negatives else self.strategy
        drawn = {"strategy": strategy, "positives": "random", "buckets": "hash"}
        return self.model_copy(update=drawn)

    @model_validator(mode="after")
    def _rounds_need_a_model(self) -> TripletSettings:
        if "rounds_on_same_data" in self.model_fields_set and not self.needs_model:
            raise ValueError(
                "rounds_on_same_data has no effect unless an earlier model mines: set strategy to "
                "'semi_hard' or 'hard', positives to 'hard' or buckets to 'neighbourhood', or "
                "remove it"
            )
        return self

    @model_validator(mode="after")
    def _suspects_are_mined(self) -> TripletSettings:
        if self.suspects == "keep" and not self.mines_negatives:
            raise ValueError(
                f"suspects = 'keep' has no effect with strategy = {self.strategy!r}: set strategy "
                "to 'semi_hard' or 'hard', or remove it"
            )
        return self

    @model_validator(mode="after")
    def _windows_need_mined_negatives(self) -> TripletSettings:
        values = {
            "skip_nearest": (self.skip_nearest, 0),
            "nearest": (self.nearest, 1),
            "least_ratio": (self.least_ratio, 0.0),
        }
        for name, (value, default) in values.items():
            if value != default and not self.mines_negatives:
                raise ValueError(
                    f"{name} = {value} has no effect with strategy = {self.strategy!r}: set "
                    f"strategy to 'semi_hard' or 'hard', or remove {name}"
                )
        if self.strategy == "semi_hard" and 0 < self.least_ratio <= 1:
            raise ValueError(
                f"least_ratio = {self.least_ratio} has no effect with strategy = 'semi_hard': its "
                "negatives are farther than the positive. Set strategy = 'hard', or least_ratio "
                "above 1, or remove it"
            )
        return self

    @model_validator(mode="after")
    def _triplets_of_an_anchor_differ(self) -> TripletSettings:
        same_positive = self.mines_negatives and self.positives == "hard"
        if same_positive and self.triplets_per_anchor > self.nearest:
            raise ValueError(
                f"with strategy = {self.strategy!r} and positives = 'hard' only the negatives of "
                f"an anchor differ, among nearest = {self.nearest}, so triplets_per_anchor = "
                f"{self.triplets_per_anchor} would repeat some. Set nearest = "
                f"{self.triplets_per_anchor}, triplets_per_anchor = {self.nearest} or positives = "
                "'random'"
            )
        return self
