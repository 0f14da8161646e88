"""The loss: part of the table `[training]`."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    ModelWrapValidatorHandler,
    model_validator,
)

from modules.settings.base import Settings, with_defaults
from modules.settings.own_code import check_call, check_own_loss, is_own, load_own, module_of

Losses = Literal[
    "margin", "soft_margin", "multi_similarity", "supervised_contrastive", "proxy_anchor"
]
Minings = Literal["none", "all", "semi_hard", "hard", "easy_positive", "distance_weighted"]

_TRIPLETS = {"distance": "squared_l2", "mining": "semi_hard", "swap": False}
# What each loss reads, with its default. All other keys of the table below are refused with it.
OPTIONS: dict[str, dict[str, Any]] = {
    "margin": {**_TRIPLETS, "margin": 0.2},
    "soft_margin": _TRIPLETS,
    "multi_similarity": {"alpha": 2.0, "beta": 50.0, "base": 0.5, "epsilon": 0.1},
    "supervised_contrastive": {"temperature": 0.1},
    "proxy_anchor": {"alpha": 32.0, "margin": 0.1, "proxy_learning_rate_factor": 100.0},
}
# Why a key is of no use, where that is not plain.
_REASONS = {
    "multi_similarity": ", which chooses pairs by itself (epsilon)",
    "supervised_contrastive": ", which takes every pair of the batch",
    "proxy_anchor": ", which compares every row with every class",
}


def loss_keys(loss: str | None = None) -> set[str]:
    """The keys that belong to a loss, or to any of them; others may have no effect with it.

    >>> sorted(loss_keys("supervised_contrastive"))
    ['temperature']
    """
    if loss is not None:
        return {*OPTIONS.get(loss, {})}
    return {key for options in OPTIONS.values() for key in options}


def _known(names: Any) -> AfterValidator:
    """One of the names, or an import path that can be imported."""

    def check(value: str | None) -> str | None:
        if value is None or value in get_args(names):
            return value
        if not is_own(value):
            known = ", ".join(repr(name) for name in get_args(names))
            raise ValueError(f"Input should be {known} or 'package.module:Name' of your own")
        load_own(value)
        return value

    return AfterValidator(check)


Positive = Annotated[float, Field(gt=0, le=1e6)]


class LossSettings(Settings):
    """What `modules.losses` minimises; part of `[training]`."""

    loss: Annotated[
        Losses | str,
        _known(Losses),
        Field(description="of triplets, of pairs, of proxies; or a class of your own"),
    ] = "margin"
    loss_options: dict[str, JsonValue] = Field(
        default_factory=dict, description="what your own loss is made with"
    )
    distance: Annotated[
        Literal["squared_l2", "l2", "cosine"] | None,
        Field(description='between embeddings, of triplets; default: `"squared_l2"`'),
    ] = None
    margin: Annotated[
        Annotated[float, Field(gt=0, le=4)] | None,
        Field(
            description="in the chosen distance; default: 0.2 with `margin`; of the cosine, 0.1, "
            "with `proxy_anchor`"
        ),
    ] = None
    swap: Annotated[bool, Field(description="d_an is the smaller one of d_an and d_pn")] = False
    mining: Annotated[
        Minings | str | None,
        _known(Minings),
        Field(
            description="which triplets of a batch count; `none`: those of TripletGen; or a "
            'function of your own; default: `"semi_hard"`'
        ),
    ] = None
    memory: Annotated[
        int,
        Field(ge=0, le=10**8, description="embeddings of earlier batches to compare with as well"),
    ] = 0
    memory_from_step: Annotated[
        int, Field(ge=0, le=10**9, description="the memory counts after so many steps")
    ] = 0
    alpha: Annotated[
        Positive | None,
        Field(description="default: 2 (positives) with `multi_similarity`, 32 with `proxy_anchor`"),
    ] = None
    beta: Annotated[
        Positive | None,
        Field(description="of negatives, with `multi_similarity`; default: 50"),
    ] = None
    base: Annotated[
        Annotated[float, Field(ge=-1, le=1)] | None,
        Field(description="the cosine to part pairs at, with `multi_similarity`; default: 0.5"),
    ] = None
    epsilon: Annotated[
        Annotated[float, Field(ge=0, le=2)] | None,
        Field(description="of the choice of pairs, with `multi_similarity`; default: 0.1"),
    ] = None
    temperature: Annotated[
        Positive | None, Field(description="with `supervised_contrastive`; default: 0.1")
    ] = None
    proxy_learning_rate_factor: Annotated[
        Annotated[float, Field(gt=0, le=1000)] | None,
        Field(description="of `learning_rate`, with `proxy_anchor`; default: 100"),
    ] = None

    @property
    def of_triplets(self) -> bool:
        """Whether the loss is made of triplets, and `mining` says of which."""
        return self.loss in ("margin", "soft_margin")

    @property
    def needs_classes(self) -> bool:
        """Whether training must know all classes before it begins."""
        return self.loss == "proxy_anchor"

    @property
    def unseparated_loss(self) -> float | None:
        """The loss when positives are as far away as negatives; None where that has no one value.

        A loss that stays there says that nothing is learnt.
        """
        if not self.of_triplets:
            return None
        return math.log(2) if self.loss == "soft_margin" else self.margin

    @property
    def own_modules(self) -> tuple[str, ...]:
        """The user's modules that training imports."""
        return tuple(
            module_of(name)
            for name in (self.loss, self.mining)
            if name is not None and is_own(name)
        )

    @model_validator(mode="wrap")
    @classmethod
    def _defaults_of_the_loss(cls, values: Any, check: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(values, dict):
            return check(values)
        options = OPTIONS.get(str(values.get("loss", "margin")), {})
        missing = {key: value for key, value in options.items() if values.get(key) is None}
        return with_defaults(check, values, missing)

    @model_validator(mode="after")
    def _every_key_has_an_effect(self) -> LossSettings:
        read = OPTIONS.get(self.loss, {})
        for key in sorted(loss_keys() - {*read}):
            value = getattr(self, key)
            if value is not None and value is not False:
                others = " or ".join(f"'{name}'" for name in OPTIONS if key in OPTIONS[name])
                reason = _REASONS.get(self.loss, "") if key == "mining" else ""
                raise ValueError(
                    f"{key} has no effect with loss = '{self.loss}'{reason}; remove it, or set "
                    f"loss to {others}"
                )
        if is_own(self.loss):
            check_own_loss(self.loss, self.loss_options)
        elif self.loss_options:
            raise ValueError(
                f"loss_options has no effect with loss = '{self.loss}'; it is for a loss of your "
                "own, loss = 'package.module:Name'"
            )
        if self.mining is not None and is_own(self.mining):
            check_call(self.mining, load_own(self.mining), "a batch")
        return self

    @model_validator(mode="after")
    def _margin_can_be_reached(self) -> LossSettings:
        if self.margin is None:
            return self
        if self.loss == "proxy_anchor" and self.margin > 1:
            raise ValueError(f"margin is {self.margin:g}, but no cosine is greater than 1")
        largest = 4 if self.distance == "squared_l2" else 2
        if self.margin > largest:
            raise ValueError(
                f"margin is {self.margin:g}, but no distance = '{self.distance}' is greater than "
                f"{largest}; a margin above it can never be reached"
            )
        return self

    @model_validator(mode="after")
    def _swap_makes_sense(self) -> LossSettings:
        if self.swap and self.mining not in ("none", "all", "hard"):
            raise ValueError(
                f"swap makes no sense with mining = '{self.mining}': it picks negatives by their "
                "distance from the anchor and swap would replace that distance; set swap = false "
                "or mining to 'none', 'all' or 'hard'"
            )
        return self

    @model_validator(mode="after")
    def _memory_makes_sense(self) -> LossSettings:
        if self.memory_from_step and not self.memory:
            raise ValueError("memory_from_step has no effect with memory = 0; raise memory")
        if not self.memory:
            return self
        if self.loss == "proxy_anchor" or is_own(self.loss):
            raise ValueError(
                f"memory has no effect with loss = '{self.loss}', which looks at the batch alone; "
                "set memory = 0, or loss to 'margin', 'soft_margin', 'multi_similarity' or "
                "'supervised_contrastive'"
            )
        if self.mining == "none":
            raise ValueError(
                "memory has no effect with mining = 'none', whose triplets are given; set "
                "memory = 0 or another mining"
            )
        if self.swap:
            raise ValueError(
                "swap cannot be used with memory: embeddings in the memory are compared with the "
                "batch, not with each other; set swap = false or memory = 0"
            )
        return self
