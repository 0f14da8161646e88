"""How often models or data were refused in a row."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

from pipeline.run_records import RunRecord


@dataclasses.dataclass(frozen=True)
class Refusals:
    """Refusals since the last success: how often, and the start of the first one."""

    count: int
    since: str | None


def refusals(records: Iterable[RunRecord]) -> Refusals:
    """Counts the models that the gate refused since it last blessed one.

    Args:
        records: Oldest first. Runs without a new model (nothing new, data refused, failed, killed)
            neither count nor end the row.
    """
    return _in_a_row(records, {"refused"}, {"pushed"})


def data_refusals(records: Iterable[RunRecord]) -> Refusals:
    """Counts the runs that their data stopped since data was last accepted."""
    return _in_a_row(records, {"data refused"}, {"pushed", "refused", "nothing new", "failed"})


def _in_a_row(records: Iterable[RunRecord], counted: set[str], ends: set[str]) -> Refusals:
    count, since = 0, None
    for record in reversed(list(records)):
        if record.state in ends:
            break
        if record.state in counted:
            count, since = count + 1, record.started
    return Refusals(count, since)
