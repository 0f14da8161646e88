"""What every table of settings has in common, and how a node reads its tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
# Every number has a largest value: what is beyond is a slip, and would show after hours, or take
# all memory.
MOST_IMAGES = 10**9
MOST_STEPS = 10**9
MOST_SEED = 2**32 - 1  # of numpy and Keras
T = TypeVar("T", bound="Settings")


class Settings(BaseModel):
    """A table of settings: unknown keys are errors, values are not coerced or changed later."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, validate_default=True)


def with_defaults(
    check: ModelWrapValidatorHandler[T], values: Mapping[str, object], missing: Mapping[str, object]
) -> T:
    """Adds defaults that follow from other keys, in a validator around a table.

    They count as not set: with another value of the key that they follow from, as a run in the
    cluster may have it, they are to be others.

    Args:
        check: What the validator wraps.
        values: By name of the field.
        missing: Defaults of fields that are not in the values.

    Returns:
        The checked settings.
    """
    settings = check({**values, **missing})
    settings.model_fields_set.difference_update(missing)
    return settings


def check_settings(kind: type[T], values: Mapping[str, object], place: str) -> T:
    """Makes settings of values that come from outside.

    Args:
        kind: The settings class.
        values: By name of the field; defaults where one is missing.
        place: Where the values come from, for the message.

    Returns:
        The checked settings.

    Raises:
        ValueError: A key or a value is not allowed; the message names the place, every key, what
            was found and what is allowed.
    """
    try:
        return kind.model_validate(dict(values))
    except ValidationError as error:
        faults = [
            (
                ".".join(map(str, fault["loc"])),
                fault["msg"].removeprefix("Value error, "),
                "" if isinstance(fault["input"], dict) else f" (found {fault['input']!r})",
            )
            for fault in error.errors()
        ]
        lines = [f"{key}{found}: {text}" if key else text for key, text, found in faults]
        raise ValueError(f"{place}: {'; '.join(lines)}.") from error


def read_table(custom_config: Mapping[str, object] | None, table: str, kind: type[T]) -> T:
    """Reads one table out of a node's `custom_config`.

    Args:
        custom_config: As TFX hands it to `preprocessing_fn` or in `fn_args`: table name to values.
        table: Its name, such as `image`.
        kind: The settings class of the table.

    Returns:
        The checked settings; defaults for keys that the table lacks.

    Raises:
        ValueError: There is no such table, or a key or a value in it is not allowed.
    """
    values = (custom_config or {}).get(table)
    if not isinstance(values, Mapping):
        raise ValueError(
            f"custom_config has no table {table!r}, only {sorted(custom_config or {})}. Pass "
            f"{kind.__name__} to the node as custom_config={{{table!r}: …model_dump(mode='json')}}."
        )
    return check_settings(kind, values, f"custom_config[{table!r}]")
