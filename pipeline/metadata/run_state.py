"""What a run can end as: one table for everything that tells the states apart."""

from __future__ import annotations

import dataclasses
import enum

from pipeline.runtime import ExitCode


class InARow(enum.Enum):
    """What a run does to a row of rejections; most runs do nothing to it."""

    COUNTS = enum.auto()
    ENDS = enum.auto()


@dataclasses.dataclass(frozen=True)
class Meaning:
    """What a state means to those who show it or act on it.

    Attributes:
        sentence: Template of the sentence about a run; `{version}`, `{node}`, `{metrics}`,
            `{data}` (the span), `{reason}` and `{source}` (where an older model came from).
        style: In tables of a terminal, as rich names it.
        colour: In the picture and on the page.
        marker: In the picture, as matplotlib names it; told apart without colour too.
        exit_code: What `retrain` ends with; a rejected model only when it is an alarm.
        models: What the run does to the row of rejected models.
        data: What the run does to the row of rejected data.
        is_judged: The gate has judged a new model.
        is_unfinished: The run stopped at a node that has not ended.
        is_broken: An error of a node ended the run, which is the reason of the run.
        is_marked: The picture draws a line through all its parts.
        has_own_span: The span is not that of an earlier run.
        origin: Template of where a later run without new data has its model from; `{started}`,
            `{version}`, `{reason}`. None: from an earlier run than this one.
    """

    sentence: str
    style: str
    colour: str
    marker: str
    exit_code: ExitCode
    models: InARow | None = None
    data: InARow | None = None
    is_judged: bool = False
    is_unfinished: bool = False
    is_broken: bool = False
    is_marked: bool = False
    has_own_span: bool = True
    origin: str | None = None


class RunState(enum.StrEnum):
    """What became of a run; in the order of legends."""

    PUSHED = (
        "pushed",
        Meaning(
            sentence="Pushed version {version}{metrics}{data}.",
            style="green",
            colour="#1a7f37",
            marker="o",
            exit_code=ExitCode.OK,
            models=InARow.ENDS,
            data=InARow.ENDS,
            is_judged=True,
            origin="The model of the run of {started} is version {version}.",
        ),
    )
    REJECTED = (
        "rejected",
        Meaning(  # by the gate
            sentence="Nothing was pushed: the model was rejected{metrics}{data}{reason}",
            style="bold red",
            colour="#cf222e",
            marker="X",
            exit_code=ExitCode.REJECTED,
            models=InARow.COUNTS,
            data=InARow.ENDS,
            is_judged=True,
            origin="The model of the run of {started} was rejected: {reason}",
        ),
    )
    DATA_REJECTED = (
        "data rejected",
        Meaning(  # by ExampleGen, ExampleValidator or DataAudit
            sentence="Nothing was pushed: {node} rejected the data{data}{reason}",
            style="bold yellow",
            colour="#bf5700",
            marker="s",
            exit_code=ExitCode.DATA_REJECTED,
            data=InARow.COUNTS,
            is_broken=True,
            is_marked=True,
        ),
    )
    NO_DATA = (
        "no data",
        Meaning(  # its folder is there and empty
            sentence="Nothing was read or pushed{reason}",
            style="bold yellow",
            colour="#9a6700",
            marker="_",
            exit_code=ExitCode.NO_DATA,
            is_broken=True,
            is_marked=True,
        ),
    )
    FAILED = (
        "failed",
        Meaning(  # at another node
            sentence="Nothing was pushed: {node} failed{reason}",
            style="bold red",
            colour="#57606a",
            marker="v",
            exit_code=ExitCode.FAILED,
            data=InARow.ENDS,
            is_broken=True,
            is_marked=True,
        ),
    )
    KILLED = (
        "killed",
        Meaning(
            sentence="Nothing was pushed: the run was killed at {node}{data}.",
            style="magenta",
            colour="#57606a",
            marker="P",
            exit_code=ExitCode.FAILED,
            is_unfinished=True,
            is_marked=True,
        ),
    )
    RUNNING = (
        "running",
        Meaning(
            sentence="The run goes on, at {node}{data}.",
            style="cyan",
            colour="#0969da",
            marker=">",
            exit_code=ExitCode.OK,
            is_unfinished=True,
        ),
    )
    SKIPPED = (
        "skipped",
        Meaning(  # by TrainingDecision
            sentence="Skipped, nothing was trained{data}{reason}",
            style="blue",
            colour="#8250df",
            marker="d",
            exit_code=ExitCode.OK,
            data=InARow.ENDS,
            origin="In the run of {started} nothing was trained: {reason}",
        ),
    )
    NOTHING_NEW = (
        "nothing new",
        Meaning(  # every node was cached
            sentence="Nothing was pushed: no new data, every node was cached{data}. {source}",
            style="dim",
            colour="#8c959f",
            marker=".",
            exit_code=ExitCode.OK,
            data=InARow.ENDS,
            has_own_span=False,
        ),
    )

    meaning: Meaning

    def __new__(cls, value: str, meaning: Meaning) -> RunState:
        """Keeps the meaning beside the value."""
        state = str.__new__(cls, value)
        state._value_ = value
        state.meaning = meaning
        return state
