"""The table `[model]`, with the path of a weights file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from modules.settings import ModelSettings
from pipeline.config.paths import absolute


def _weights_path(weights: str) -> str:
    return weights if weights in ("none", "imagenet") else absolute(weights)


class PretrainedModelSettings(ModelSettings):
    """`[model]`: which embedding network, what it starts from and what of it learns.

    `trainable`: `all` of it; only the `head` on a frozen backbone; or `fine_tune`, the backbone too
    but slower. The last two keep the pre-trained statistics of batch normalisation.
    """

    weights: Annotated[
        str,
        Field(min_length=1, description="`none`, `imagenet` or the path of a weights file"),
        AfterValidator(_weights_path),
    ] = "none"
