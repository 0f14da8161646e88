"""Spans that arrive after a later one was read, and new versions of spans that were read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

LateSpans = Literal["warn", "read", "fail"]
# Key in the execution property `custom_config`; absent for `warn`.
LATE_SPANS = "late_spans"

# The greatest version that was tried of each span; None where there are no versions.
Tried = Mapping[int, int | None]


def late_spans(found: Mapping[int, Iterable[int | None]], tried: Tried) -> list[int]:
    """Lists the spans that no run would read any more.

    Args:
        found: The versions there are of each span; None without versions.
        tried: What runs have read, well or not.

    Returns:
        Spans before the last one that was tried, of which nothing was tried or only an earlier
        version, in order.

    Example:
        >>> late_spans({1: [None], 2: [None], 3: [None], 4: [None]}, {1: None, 3: None})
        [2]
        >>> late_spans({1: [1, 2], 2: [1]}, {1: 1, 2: 1})
        [1]
    """
    last = max(tried, default=-1)
    return sorted(
        span
        for span, versions in found.items()
        if span < last and (span not in tried or _newest(versions) > _newest([tried[span]]))
    )


def _newest(versions: Iterable[int | None]) -> int:
    return max(-1 if version is None else version for version in versions)
