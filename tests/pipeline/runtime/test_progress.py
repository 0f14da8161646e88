"""What a run shows of its nodes, on a terminal and in a log."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from modules.runtime import work_done
from pipeline.runtime import progress


def shown(monkeypatch, node: str, outcome: str | None, *, terminal: bool) -> str:
    """The output of a node that takes as long as ten looks at it."""
    monkeypatch.setattr(progress, "_QUIET_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LOOK_SECONDS", 0.01)
    monkeypatch.setattr(progress, "_LINE_SECONDS", 0.01)
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=100)
    with progress.NodeProgress(10, console).of(node) as of_node:
        work_done.expect("images", 1000)
        work_done.add("images", 256)
        time.sleep(0.1)
        of_node.outcome = outcome
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_node_shows_its_time_and_its_work(monkeypatch, terminal) -> None:
    output = shown(monkeypatch, "TripletGen", "executed", terminal=terminal)
    first, *_, last = output.splitlines()
    assert first == "[ 1/10] TripletGen …"
    assert "[ 1/10] TripletGen … 0 s, 256 of 1,000 images" in output
    assert re.search(r"\[ 1/10\] TripletGen done, 0\.[1-9] s$", last)


@pytest.mark.parametrize(
    ("outcome", "word"), [("cached", "cached"), ("done before", "done before"), (None, "FAILED")]
)
def test_how_a_node_ends(monkeypatch, outcome, word) -> None:
    output = shown(monkeypatch, "Trainer", outcome, terminal=False)
    # Trainer has a progress bar of its own, so nothing moves here.
    assert len(output.splitlines()) == 2
    assert f"[ 1/10] Trainer {word}, 0." in output


def test_a_node_that_raises_is_shown_as_failed() -> None:
    file = io.StringIO()
    shown = progress.NodeProgress(2, Console(file=file))
    with pytest.raises(ValueError, match="broken"), shown.of("A"):
        raise ValueError("broken")
    with shown.of("B") as of_node:
        of_node.outcome = "cached"
    lines = re.sub(r"\d\.\d s", "S", file.getvalue()).splitlines()
    assert lines == ["[ 1/2] A …", "[ 1/2] A FAILED, S", "[ 2/2] B …", "[ 2/2] B cached, S"]


def test_counts_of_an_earlier_node_are_forgotten() -> None:
    shown = progress.NodeProgress(2, Console(file=io.StringIO()))
    with shown.of("A"):
        work_done.add("images")
    with shown.of("B"):
        assert work_done.describe() == ""
