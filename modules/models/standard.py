"""How published weights expect their pixels."""

from __future__ import annotations

from typing import NamedTuple


class WeightsError(ValueError):
    """The weights that the settings ask for cannot be had; the message says what to do."""


class Standard(NamedTuple):
    """How published weights expect their input: (p / 255 − mean) / deviation per channel."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
