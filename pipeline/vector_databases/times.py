"""The time as both databases keep it."""

from __future__ import annotations

import datetime


def now() -> str:
    """UTC in microseconds; as text it sorts as the times do."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds")
