"""The loss: part of the table `[training]`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from modules.settings.base import Settings


class LossSettings(Settings):
    """What `modules.losses.triplet_loss` minimises; part of `[training]`."""

    loss: Annotated[
        Literal["margin", "soft_margin"], Field(description="the term of a triplet")
    ] = "margin"
    distance: Annotated[
        Literal["squared_l2", "l2", "cosine"], Field(description="between embeddings")
    ] = "squared_l2"
    margin: Annotated[
        Annotated[float, Field(gt=0, le=4)] | None,
        Field(description='in the chosen distance; default: 0.2 with `loss = "margin"`'),
    ] = None
    swap: Annotated[bool, Field(description="d_an is the smaller one of d_an and d_pn")] = False
    mining: Annotated[
        Literal["none", "all", "semi_hard", "hard", "easy_positive", "distance_weighted"],
        Field(description="which triplets of a batch count; `none`: those of TripletGen"),
    ] = "semi_hard"

    @model_validator(mode="before")
    @classmethod
    def _default_margin(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("loss", "margin") == "margin":
            return {"margin": 0.2} | values
        return values

    @model_validator(mode="after")
    def _combination_makes_sense(self) -> LossSettings:
        if self.loss == "soft_margin" and self.margin is not None:
            raise ValueError("margin has no effect with loss = 'soft_margin'; remove it")
        if self.loss == "margin" and self.margin is None:
            raise ValueError("margin must be a number with loss = 'margin'")
        largest = 4 if self.distance == "squared_l2" else 2
        if self.margin is not None and self.margin > largest:
            raise ValueError(
                f"margin is {self.margin:g}, but no distance = '{self.distance}' is greater than "
                f"{largest}; a margin above it can never be reached"
            )
        if self.swap and self.mining not in ("none", "all", "hard"):
            raise ValueError(
                f"swap makes no sense with mining = '{self.mining}': it picks negatives by their "
                "distance from the anchor and swap would replace that distance; set swap = false "
                "or mining to 'none', 'all' or 'hard'"
            )
        return self
