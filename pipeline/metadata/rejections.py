"""How often models or data were rejected in a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pipeline.metadata.run_state import InARow
from pipeline.metadata.run_summary import RunSummary


@dataclasses.dataclass(frozen=True)
class Rejections:
    """Rejections since the last success: how often, and the start of the first one."""

    count: int
    since: str | None


def model_rejections(runs: Iterable[RunSummary]) -> Rejections:
    """Counts the models that the gate rejected since it last blessed one.

    Args:
        runs: Oldest first. Runs without a new model (nothing new, data rejected, failed, killed)
            neither count nor end the row.
    """
    return _in_a_row((run, run.state.meaning.models) for run in runs)


def data_rejections(runs: Iterable[RunSummary]) -> Rejections:
    """Counts the runs that their data stopped since data was last accepted; runs as above."""
    return _in_a_row((run, run.state.meaning.data) for run in runs)


def _in_a_row(runs: Iterable[tuple[RunSummary, InARow | None]]) -> Rejections:
    count, since = 0, None
    for run, effect in reversed(list(runs)):
        if effect is InARow.ENDS:
            break
        if effect is InARow.COUNTS:
            count, since = count + 1, run.started
    return Rejections(count, since)
