"""What counts as rejected in a row."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pipeline.metadata import Rejections, RunState, RunSummary, data_rejections, model_rejections

STATES = {
    "P": "pushed", "r": "rejected", "n": "nothing new", "d": "data rejected", "f": "failed",
    "k": "killed", "g": "running",
}  # fmt: skip


def runs(letters: str) -> list[RunSummary]:
    """A run a day, by the first letters of their states."""
    return [
        RunSummary(str(day), f"2026-01-{day:02}", 1.0, RunState(STATES[letter]))
        for day, letter in enumerate(letters, start=1)
    ]


@pytest.mark.parametrize(
    ("letters", "models", "data"),
    [
        ("", (0, None), (0, None)),
        ("P", (0, None), (0, None)),
        ("rP", (0, None), (0, None)),
        ("Prr", (2, "2026-01-02"), (0, None)),
        ("rnrdkf", (2, "2026-01-01"), (0, None)),  # a failed run had data that was accepted
        ("Pddk", (0, None), (2, "2026-01-02")),
        ("dnd", (0, None), (1, "2026-01-03")),
        ("rdg", (1, "2026-01-01"), (1, "2026-01-02")),
    ],
)
def test_the_row_goes_back_to_the_last_success(letters: str, models, data) -> None:
    assert model_rejections(runs(letters)) == Rejections(*models)
    assert data_rejections(runs(letters)) == Rejections(*data)


@given(st.text(st.sampled_from(list(STATES)), max_size=25))
def test_nothing_before_the_last_push_matters(letters: str) -> None:
    after = letters.rpartition("P")[2]
    assert model_rejections(runs(letters)).count == after.count("r")
    assert data_rejections(runs("rd" + letters + "P")).count == 0
