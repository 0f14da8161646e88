"""What the summary says of a run; the numbers of real runs are checked in tests/e2e."""

from __future__ import annotations

import pytest

from pipeline.run_records import RunRecord
from pipeline.runs import NodeRun, Run
from pipeline.summary import show


@pytest.mark.parametrize("message", ["[/data] has no images", "[bold]x", "shape [3, 28]"])
def test_a_message_with_brackets_is_shown_as_it_is(capsys, message: str) -> None:
    node = NodeRun("TripletGen", "failed", 1.0, message, {})
    run_id = "2026-01-01T00:00:00"
    record = RunRecord(run_id, "2026-01-01 00:00:00", 1.0, "failed", "TripletGen", reason=message)
    show(Run("mine", run_id, [node], None, None), [record], 3)
    assert f"TripletGen failed: {message}" in capsys.readouterr().out
