"""The table `[image]`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modules.settings.base import Settings


class ImageSettings(Settings):
    """`[image]`: what the network sees of an image."""

    height: Annotated[int, Field(ge=1, le=4096, description="pixels; others are scaled")] = 28
    width: Annotated[int, Field(ge=1, le=4096, description="pixels; others are scaled")] = 28
    channels: Annotated[Literal[1, 3], Field(description="1 for grey, 3 for colour")] = 1
