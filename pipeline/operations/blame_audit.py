"""What the audit of a run said of the images of some spans."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator

from modules.audit import AuditReport, Group, read_audit, read_suspects
from modules.runtime import shown

_NAMED = 3


def audit_sentences(uri: str, ids: Collection[bytes]) -> list[str]:
    """Says it in sentences; none if the audit is gone.

    Args:
        uri: Of DataAudit's `audit`.
        ids: Of the images that are asked about.
    """
    with contextlib.suppress(OSError, ValueError):
        suspects = sorted(read_suspects(uri) & set(ids))
        return [*_sentences(read_audit(uri), [_text(one) for one in suspects], ids)]
    return []


def _sentences(report: AuditReport, suspects: list[str], ids: Collection[bytes]) -> Iterator[str]:
    asked = {_text(one) for one in ids}
    if suspects:
        yield (
            f"The audit of the run doubts the labels of {len(suspects):,} of the {len(ids):,} "
            f"images to train on: {_such_as(suspects)}."
        )
    else:
        without = "" if report.compared else "; it had no model to judge labels with"
        yield f"The audit of the run doubts none of the labels{without}."
    for what, groups in (
        ("copies with two labels", [one for one in report.copies if one.conflicting]),
        ("copies in train and eval", [one for one in report.copies if one.leaked]),
        ("near-duplicates with two labels", [g for g in report.near_duplicates if g.conflicting]),
    ):
        named = [_of_group(one) for one in groups if any(m.id in asked for m in one.members)]
        if named:
            yield f"It found {what} among them: {_such_as(named, '; ')}."


def _of_group(group: Group) -> str:
    members = [f"{shown(one.id)} ({shown(one.label)})" for one in group.members[:_NAMED]]
    return ", ".join(members)


def _such_as(names: list[str], separator: str = ", ") -> str:
    more = len(names) - _NAMED
    first = separator.join(shown(one, 200) for one in names[:_NAMED])
    return f"{first} and {more:,} more" if more > 0 else first


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
