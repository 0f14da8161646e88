"""Numbers as a page shows them."""

from __future__ import annotations

import math

from modules.retrieval import COUNTS, NEVER

_WHOLE = {*COUNTS, *NEVER, "gallery_size", "genuine_pairs", "impostor_pairs", "resampled classes",
          "resampled queries"}  # fmt: skip


def is_count(metric: str) -> bool:
    """Whether a metric is a whole number, whose change says nothing of the model."""
    return metric in _WHOLE


def page_number(value: float, metric: str = "") -> str:
    """A figure: four decimals, whole for counts, a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if metric in _WHOLE else f"{value:.4f}"


def signed(value: float) -> str:
    """A change: with its sign."""
    return f"{value:+.4f}".replace("-", "−") if math.isfinite(value) else "–"


def in_bytes(count: int) -> str:
    """A size, such as `1.2 MB`."""
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:,.0f} kB"
