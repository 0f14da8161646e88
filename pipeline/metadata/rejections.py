"""How often models or data were rejected in a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pipeline.metadata.run_summary import RunSummary


@dataclasses.dataclass(frozen=True)
class Rejections:
    """Rejections since the last success: how often, and the start of the first one."""

    count: int
    since: str | None


def model_rejections(records: Iterable[RunSummary]) -> Rejections:
    """Counts the models that the gate rejected since it last blessed one.

    Args:
        records: Oldest first. Runs without a new model (nothing new, data rejected, failed, killed)
            neither count nor end the row.
    """
    return _in_a_row(records, {"rejected"}, {"pushed"})


def data_rejections(records: Iterable[RunSummary]) -> Rejections:
    """Counts the runs that their data stopped since data was last accepted."""
    return _in_a_row(records, {"data rejected"}, {"pushed", "rejected", "nothing new", "failed"})


def _in_a_row(records: Iterable[RunSummary], counted: set[str], ends: set[str]) -> Rejections:
    count, since = 0, None
    for record in reversed(list(records)):
        if record.state in ends:
            break
        if record.state in counted:
            count, since = count + 1, record.started
    return Rejections(count, since)
