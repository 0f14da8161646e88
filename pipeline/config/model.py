"""The table `[model]`, with the path of a weights file."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from modules.settings import ModelSettings
from pipeline.config.paths import absolute


def _weights_path(weights: str) -> str:
    return weights if weights in ("none", "imagenet") else absolute(weights)


class PretrainedModelSettings(ModelSettings):
    """`[model]`: as in `modules.settings`, with the path of a weights file from the project."""

    weights: Annotated[str, Field(min_length=1), AfterValidator(_weights_path)] = "none"
