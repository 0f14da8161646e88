"""How much of a node's work is done, for whoever shows it while the node runs.

Code that works on many things counts them here: `add("images", 256)`, and
`expect("images", 10_000)` where it knows how many there will be. The counts are of this process: of
Beam workers in processes of their own nothing is seen here, and nothing depends on it.

>>> from modules.runtime import work_done
>>> work_done.reset()
>>> work_done.expect("images", 1000)
>>> work_done.add("images", 256)
>>> work_done.describe()
'256 of 1,000 images'
"""

from __future__ import annotations

import threading
from collections import Counter

_lock = threading.Lock()
_done: Counter[str] = Counter()
_expected: Counter[str] = Counter()


def reset() -> None:
    """Forgets all counts, when a node starts."""
    with _lock:
        _done.clear()
        _expected.clear()


def add(what: str, number: int = 1) -> None:
    """Counts things that are done.

    Args:
        what: Plural noun, such as `images`.
        number: How many more.
    """
    with _lock:
        _done[what] += number


def expect(what: str, number: int) -> None:
    """Says that so many more things are to be done."""
    with _lock:
        _expected[what] += number


def describe() -> str:
    """The counts in words, such as `256 of 1,000 images`; empty when nothing was counted."""
    with _lock:
        return ", ".join(
            f"{done:,} of {_expected[what]:,} {what}" if what in _expected else f"{done:,} {what}"
            for what, done in _done.items()
        )
