"""The table `[model]`, with the path of a weights file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from modules.settings import PRESET, WEIGHTS, ModelSettings
from pipeline.config.paths import absolute


def _weights_path(weights: str) -> str:
    return weights if weights in ("none", "imagenet", PRESET) else absolute(weights)


class PretrainedModelSettings(ModelSettings):
    """`[model]`: which embedding network, what it starts from and what of it learns.

    `trainable`: `all` of it; only the `head` on a frozen backbone; `fine_tune`, the backbone too
    but slower; or `lora`, small matrices beside the weights of its attention, which are added to
    them at the end. All but `all` keep the pre-trained statistics of batch normalisation.
    """

    preset: Annotated[
        Annotated[str, Field(min_length=1), AfterValidator(absolute)] | None,
        Field(description=ModelSettings.model_fields["preset"].description),
    ] = None
    weights: Annotated[
        str, Field(min_length=1, description=WEIGHTS), AfterValidator(_weights_path)
    ] = "none"
