"""Which spans wait to be read."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from components.spans import SpanPattern
from pipeline.config import Config
from pipeline.metadata import EXAMPLE_GENS, RunSummary


def waiting_spans(config: Config, runs: Iterable[RunSummary]) -> list[int]:
    """Lists the spans that are there and later than every span that a run has tried, in order.

    Args:
        config: The pipeline; its patterns tell the spans apart (`SpanPattern`).
        runs: All its runs. A run that was killed while it read a span has not tried it; the driver
            of ExampleGen, `components.spans`, goes by the same rule.

    Returns:
        Numbers of spans; none if the patterns have no placeholders. A span whose folder lacks a
        split is in the list, although a run will pass it over.
    """
    patterns = [SpanPattern.parse(pattern) for pattern in config.data.patterns.values()]
    found = set()
    for pattern in patterns:
        if pattern.has_spans:
            for path in _paths(config.data.path, pattern.folders):
                if match := pattern.find(path):
                    found.add(match[0])
    last = max(tried_spans(runs), default=-1)
    return sorted(span for span in found if span > last)


def tried_spans(runs: Iterable[RunSummary]) -> list[int]:
    """The spans that ExampleGen has read to the end, whether it accepted or rejected them."""
    return [
        run.span
        for run in runs
        if run.span is not None
        and not (run.state.meaning.is_unfinished and run.node in EXAMPLE_GENS)
    ]


def _paths(base: str, pattern: str) -> list[str]:
    """The paths that match a glob pattern below `base`, relative to it."""
    if "://" not in base:
        return [Path(path).as_posix() for path in glob.glob(pattern, root_dir=base)]  # noqa: PTH207
    from tfx.dsl.io import fileio  # loads TensorFlow

    root = base.rstrip("/") + "/"
    return [str(path).removeprefix(root) for path in fileio.glob(root + pattern)]
