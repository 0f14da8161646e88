"""What every table of settings has in common, and how a node reads its tables."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0, le=1)]
T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """A table of settings: unknown keys are errors, values are not coerced or changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


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
