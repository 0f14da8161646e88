"""Typed settings of what runs inside the nodes; `pipeline.config` puts them into its tables.

They live here because Transform and Trainer receive them as `custom_config` and check them again:
a user module must not depend on the pipeline that called it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """A table of settings: unknown keys are errors, values are not coerced or changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


class ImageSettings(Settings):
    """`[image]`: what the network sees of an image."""

    height: Annotated[int, Field(ge=1, le=4096)] = 28
    width: Annotated[int, Field(ge=1, le=4096)] = 28
    channels: Literal[1, 3] = 1


class ModelSettings(Settings):
    """`[model]`: which embedding network."""

    name: Literal["small_cnn"] = "small_cnn"
    embedding_size: Annotated[int, Field(ge=2, le=4096)] = 128


class TrainingSettings(Settings):
    """`[training]`: how the network learns."""

    steps: Annotated[int, Field(ge=1)] = 600
    batch_size: Annotated[int, Field(ge=2, description="triplets in a batch")] = 128
    margin: Annotated[float, Field(gt=0, le=4)] = 0.2
    mining: Literal["none", "semi_hard", "all"] = "semi_hard"
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    schedule: Literal["cosine", "constant"] = "cosine"
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    max_shift: Annotated[Fraction, Field(description="of height and width")] = 0.0
    max_rotation: Annotated[Fraction, Field(description="of a full turn")] = 0.0
    validate_every: Annotated[int, Field(ge=1, description="steps")] = 100
    validation_images: Annotated[int, Field(ge=2, description="the most to embed")] = 2000
    patience: Annotated[int, Field(ge=1, description="validations without improvement")] = 5
    seed: Annotated[int, Field(ge=0)] = 0


def from_custom_config(kind: type[T], custom_config: dict[str, Any] | None) -> T:
    """Reads one table out of a node's `custom_config`.

    Args:
        kind: The settings class; its table is named after it (`ImageSettings` is `image`).
        custom_config: As TFX hands it to `preprocessing_fn` or in `fn_args`; table name to values.

    Returns:
        The checked settings; defaults where the table is missing.

    Raises:
        pydantic.ValidationError: A key or a value is not allowed; the message names both.
    """
    table = kind.__name__.removesuffix("Settings").lower()
    return kind.model_validate((custom_config or {}).get(table, {}))
