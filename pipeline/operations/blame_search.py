"""Which spans of a window a refusal goes back to, by leaving parts of the window out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence


def find_culprits(
    spans: Sequence[int], passes: Callable[[frozenset[int]], bool]
) -> tuple[int, ...]:
    """Narrows down the spans without which the gate passes.

    The window is halved, and each half is left out in turn. If the gate passes without one, the
    search goes on within it. If it passes without neither, the parts are made smaller, down to
    single spans: a smaller part leaves more to learn from. This is Zeller's and Hildebrandt's delta
    debugging ("Simplifying and Isolating Failure-Inducing Input", 2002) on what is left out. It
    never asks about the whole window, without which there is nothing to train on.

    Of one culprit among n spans it asks at most 2 · log₂ n times, rounded up, if the gate passes
    without every part that holds it.

    Args:
        spans: Of the window, oldest first. The newest are asked about first: without them a model
            was blessed before.
        passes: Whether the gate passes without some spans.

    Returns:
        The spans, ascending: without them the gate passes, and without no half of them does it, nor
        without one of them. Empty if no part was found without which it passes.
    """
    suspects, parts, found = sorted(spans, reverse=True), 2, False
    while len(suspects) > 1:
        for part in _split(suspects, parts):
            if passes(frozenset(part)):
                suspects, parts, found = part, 2, True
                break
        else:
            if parts >= len(suspects):
                break
            parts = min(2 * parts, len(suspects))
    return tuple(sorted(suspects)) if found else ()


def _split(items: list[int], parts: int) -> list[list[int]]:
    """Parts of nearly the same size, in order, the small ones first."""
    ends = [number * len(items) // parts for number in range(parts + 1)]
    return [items[start:end] for start, end in itertools.pairwise(ends)]
