"""How long the nodes before this one took, for a node that reports on the run.

Who launches a node notes them (`pipeline/launch.py`), in the process that runs it. Where nobody
does, there are none, and nothing depends on them.

>>> from modules.runtime import node_times
>>> node_times.note({"Trainer": 24.5})
>>> node_times.noted()
{'Trainer': 24.5}
"""

from __future__ import annotations

from collections.abc import Mapping

_seconds: dict[str, float] = {}


def note(seconds: Mapping[str, float]) -> None:
    """Replaces what was noted before.

    Args:
        seconds: By node, in the order they started; NaN for one from the cache.
    """
    _seconds.clear()
    _seconds.update(seconds)


def noted() -> dict[str, float]:
    """What was noted last."""
    return dict(_seconds)
