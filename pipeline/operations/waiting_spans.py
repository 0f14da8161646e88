"""Which spans wait to be read."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from components.spans import SpanPattern, late_spans
from pipeline.config import Config
from pipeline.metadata import EXAMPLE_GENS, RunSummary


def waiting_spans(config: Config, runs: Iterable[RunSummary]) -> list[int]:
    """Lists the spans that are there and later than every span that a run has tried, in order.

    With `late_spans = "read"` also those that are late.

    Args:
        config: The pipeline; its patterns tell the spans apart (`SpanPattern`).
        runs: All its runs. A run that was killed while it read a span has not tried it; the driver
            of ExampleGen, `components.spans`, goes by the same rule.

    Returns:
        Numbers of spans; none if the patterns have no placeholders. A span whose folder lacks a
        split is in the list, although a run will pass it over.
    """
    patterns = [SpanPattern.parse(pattern) for pattern in config.data.patterns.values()]
    found: dict[int, set[int | None]] = {}
    for pattern in patterns:
        if pattern.has_spans:
            for path in _paths(config.data.path, pattern.folders):
                if match := pattern.find(path):
                    found.setdefault(match[0], set()).add(match[1])
    tried = _tried(runs)
    last = max(tried, default=-1)
    late = late_spans(found, tried) if config.data.late_spans == "read" else []
    return sorted({*late, *(span for span in found if span > last)})


def tried_spans(runs: Iterable[RunSummary]) -> list[int]:
    """The spans that ExampleGen has read to the end, whether it accepted or rejected them."""
    return [run.span for run in runs if run.span is not None and _is_tried(run)]


def _is_tried(run: RunSummary) -> bool:
    return not (run.state.meaning.is_unfinished and run.node in EXAMPLE_GENS)


def _tried(runs: Iterable[RunSummary]) -> dict[int, int | None]:
    """The greatest version that was tried of each span."""
    tried: dict[int, int | None] = {}
    for run in runs:
        if run.span is not None and _is_tried(run):
            known = [v for v in (tried.get(run.span), run.span_version) if v is not None]
            tried[run.span] = max(known, default=None)
    return tried


def _paths(base: str, pattern: str) -> list[str]:
    """The paths that match a glob pattern below `base`, relative to it."""
    if "://" not in base:
        return [Path(path).as_posix() for path in glob.glob(pattern, root_dir=base)]  # noqa: PTH207
    from tfx.dsl.io import fileio  # loads TensorFlow

    root = base.rstrip("/") + "/"
    return [str(path).removeprefix(root) for path in fileio.glob(root + pattern)]
