"""A new state is one edit: everything that tells states apart takes them from the table."""

from __future__ import annotations

import ast
import enum

from pipeline.config import PROJECT
from pipeline.metadata import RunState, RunSummary, data_rejections, model_rejections
from pipeline.metadata.run_state import InARow, Meaning
from pipeline.operations import history_plot
from pipeline.operations.history_plot import history_png
from pipeline.operations.history_table import history_rows
from pipeline.operations.retraining import exit_code
from pipeline.operations.sentences import describe_run
from pipeline.operations.waiting_spans import tried_spans
from pipeline.runtime import ExitCode

POSTPONED = Meaning(
    sentence="The push was postponed at {node}{data}{reason}",
    style="blue",
    colour="#123456",
    marker="D",
    exit_code=ExitCode.LOCKED,
    models=InARow.COUNTS,
    is_unfinished=True,
)


class More(enum.StrEnum):
    """The states, and one more."""

    POSTPONED = "postponed"

    @property
    def meaning(self) -> Meaning:
        return POSTPONED


def test_a_state_that_was_added_is_shown_and_acted_on_everywhere(monkeypatch) -> None:
    monkeypatch.setattr(history_plot, "_ORDER", [*RunState, More.POSTPONED])
    new = RunSummary(
        "2", "2026-01-02 00:00:00", 60.0, More.POSTPONED, "Pusher", span=7, reason="night"
    )
    runs = [RunSummary("1", "2026-01-01 00:00:00", 60.0, RunState.REJECTED), new]
    assert list(describe_run(new, runs)) == ["The push was postponed at Pusher; span 7: night"]
    assert history_rows(runs)[1]["state"] == "postponed"
    assert history_rows(runs)[1]["reason"] == "at Pusher"
    assert history_png("mine", runs).startswith(b"\x89PNG")
    assert model_rejections(runs).count == 2
    assert data_rejections(runs).count == 0
    assert exit_code(0, new, runs, alert_after=3) == ExitCode.LOCKED
    assert tried_spans(runs) == [7]


def test_no_other_file_knows_the_states_by_their_values() -> None:
    states = set(RunState) - {"failed", "killed", "running", "skipped"}  # of nodes too
    for path in (PROJECT / "pipeline").rglob("*.py"):
        if path.name != "run_state.py":
            nodes = ast.walk(ast.parse(path.read_text()))
            texts = {n.value for n in nodes if isinstance(n, ast.Constant)}
            assert not texts & states, path


def test_states_differ_in_the_picture() -> None:
    assert len({(s.meaning.colour, s.meaning.marker) for s in RunState}) == len(RunState)
    assert [str(state) for state in RunState] == [
        "pushed", "rejected", "data rejected", "no data", "failed", "killed", "running", "skipped",
        "nothing new",
    ]  # fmt: skip
