"""Why a model was rejected: which span of the window, which classes, which images."""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.config import Config
from pipeline.metadata import RunState, RunSummary, open_store, read_latest, read_runs
from pipeline.operations.blame_search import find_culprits
from pipeline.runtime import NodeFailedError, NotRunError, hold_lock, lock_path, quiet_imports

if TYPE_CHECKING:
    from modules.retrieval import Gallery
    from pipeline.imported import RunInputs
    from pipeline.operations.blame_images import SpanVerdict

_NAME = "blame"


class Outcome(enum.StrEnum):
    """What the search came to."""

    TRAINING = "training"  # the gate passes if the spans are not trained on
    EVALUATION = "evaluation"  # only if they are not evaluated on either
    NOBODY = "nobody"  # it passes without no part of the window
    ACCEPTED = "accepted"  # it passes with the whole window now


@dataclasses.dataclass(frozen=True)
class Trial:
    """A training on a part of the window, and what the gate said.

    Attributes:
        without: Spans that were not trained on.
        not_evaluated: Spans that were not evaluated on.
        blessed: Whether the gate passed.
        metrics: Of the whole eval split, by name; empty if it failed.
        seconds: How long it took.
        error: Why it failed; None if it did not.
        model: Folder of the model, while it is kept.
    """

    without: tuple[int, ...]
    not_evaluated: tuple[int, ...]
    blessed: bool
    metrics: dict[str, float]
    seconds: float
    error: str | None = None
    model: str | None = None


@dataclasses.dataclass(frozen=True)
class Blame:
    """What was found about a rejected model.

    Attributes:
        run: Its run.
        outcome: What the search came to.
        spans: Those to blame.
        trials: In the order they ran.
        verdict: Classes and images of the spans; None if there are none to blame.
        audit: What the audit of the run said of the spans' images, in sentences.
        kept: The folder of the trials, if it was kept.
    """

    run: RunSummary
    outcome: Outcome
    spans: tuple[int, ...]
    trials: list[Trial]
    verdict: SpanVerdict | None
    audit: list[str]
    kept: str | None


def rejected_run(config: Config, run_id: str | None) -> RunSummary:
    """Finds the run whose model is asked about, before anything slow is done.

    Args:
        config: The pipeline.
        run_id: Of the run, or how it begins; default: the latest one that the gate judged.

    Raises:
        NotRunError: There is no such run, its model was not rejected, or it was trained on one span
            only.
    """
    runs = read_runs(config)
    judged = [run for run in runs if run.state.meaning.is_judged]
    chosen = [run for run in runs if run.run_id.startswith(run_id)] if run_id else judged[-1:]
    if len(chosen) != 1:
        what = "begins with" if chosen else "is or begins with"
        number = f"{len(chosen)} runs have an id that" if chosen else "there is no run whose id"
        about = f"{number} {what} {run_id!r}" if run_id else "the gate has judged no model"
        raise NotRunError(
            f"Nothing to blame in pipeline {config.pipeline.name!r}: {about}. "
            "`python -m pipeline history --json` lists the runs."
        )
    (run,) = chosen
    if run.state is not RunState.REJECTED:
        raise NotRunError(
            f"Nothing to blame in the run of {run.started}: it is {run.state}, and blame asks why "
            "a model was rejected. `python -m pipeline history --json` lists the runs; name one "
            "with --run."
        )
    if len(run.window) < 2:
        spans = f"span {run.window[0]}" if run.window else "data without spans"
        raise NotRunError(
            f"The model of {run.started} was trained on {spans} alone: there is nothing to compare "
            "it with. Look at the images themselves, or set [data] window to train on several "
            "spans."
        )
    return run


def find_blame(
    config: Config,
    run: RunSummary,
    *,
    work: str | None = None,
    keep: bool = False,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> Blame:
    """Trains on parts of the window, in a folder of its own, and judges the images of the culprits.

    Everything but the parts is as in the run: examples, the models that it mined with, started from
    and was compared with, and the seed; the settings are those of `config`. Nothing is pushed, and
    the pipeline's metadata is only read.

    Args:
        config: The pipeline.
        run: See `rejected_run`.
        work: The folder for the trials; default: `blame` in the folder of the pipeline.
        keep: Leaves them there; trials of another call with the same folder are then cached.
        on_trial: Called with each trial that has ended.

    Raises:
        LockedError: Another call works in the folder.
        NotRunError: Inputs of the run are gone.
    """
    with quiet_imports():
        from components.metadata import read_pipeline_runs
        from pipeline.imported import inputs_of
    store = open_store(config, readonly=True)
    (of_run,) = (
        one for one in read_pipeline_runs(store, config.pipeline.name) if one.run_id == run.run_id
    )
    inputs = inputs_of(of_run)
    _check_there(inputs)
    scratch = _scratch(config, work)
    folder = Path(scratch.pipeline.directory) / _NAME
    with _folder(scratch, folder, keep=keep):
        trials = Trials(scratch, inputs, on_trial)
        outcome, spans = search_window(trials)
        verdict, ids = trials.judge_images(spans) if spans else (None, [])
    with quiet_imports():
        from pipeline.operations.blame_audit import audit_sentences

        audited = of_run.nodes.get("DataAudit")
        made = audited.made.get("audit", []) if audited and ids else []
        audit = [one for artifact in made for one in audit_sentences(str(artifact["uri"]), ids)]
    return Blame(run, outcome, spans, trials.done, verdict, audit, str(folder) if keep else None)


def search_window(trials: Trials) -> tuple[Outcome, tuple[int, ...]]:
    """Asks what the gate says without parts of the window.

    Returns:
        What it comes to, and the spans to blame, ascending; none if there are none.
    """
    window = sorted(trials.inputs.trained)
    if trials.run((), ()).blessed:
        return Outcome.ACCEPTED, ()
    spans = find_culprits(window, lambda part: trials.run(part, ()).blessed)
    if spans:
        return Outcome.TRAINING, spans
    # With an evaluation span of its own there is no other data to evaluate on.
    if set(trials.inputs.evaluated) == set(window):
        spans = find_culprits(window, lambda part: trials.run(part, part).blessed)
    return (Outcome.EVALUATION, spans) if spans else (Outcome.NOBODY, ())


class Trials:
    """Runs trials, each once.

    Args:
        config: A pipeline in a folder of its own.
        inputs: Of the run.
        on_trial: Called with each trial that has ended.
    """

    def __init__(
        self, config: Config, inputs: RunInputs, on_trial: Callable[[Trial], None]
    ) -> None:
        self.inputs = inputs
        self.done: list[Trial] = []
        self._config, self._on_trial = config, on_trial

    def run(self, without: Collection[int], not_evaluated: Collection[int]) -> Trial:
        """Trains without some spans and evaluates without some, or returns what that came to."""
        left_out = tuple(sorted(without)), tuple(sorted(not_evaluated))
        for trial in self.done:
            if (trial.without, trial.not_evaluated) == left_out:
                return trial
        started = time.monotonic()
        trial = Trial(*left_out, blessed=False, metrics={}, seconds=0.0)
        try:
            trial = self._train(trial)
        except NodeFailedError as error:  # such as a class less, with which nothing can be trained
            trial = dataclasses.replace(trial, error=str(error).splitlines()[0])
        trial = dataclasses.replace(trial, seconds=time.monotonic() - started)
        self.done.append(trial)
        self._on_trial(trial)
        return trial

    def _train(self, trial: Trial) -> Trial:
        from pipeline.definition import create_pipeline
        from pipeline.imported import imported_start
        from pipeline.local_runner import LocalRunner

        start = imported_start(self.inputs, trial.without, trial.not_evaluated)
        LocalRunner(self._config).run(create_pipeline(self._config, start))
        run = read_latest(self._config)[0]
        assert run.evaluation is not None
        (model,) = next(node.uris["model"] for node in run.nodes if node.node == "Trainer")
        return dataclasses.replace(
            trial,
            blessed=bool(run.evaluation.blessed),
            metrics=run.evaluation.metrics["candidate"]["overall"],
            model=model,
        )

    def judge_images(self, spans: tuple[int, ...]) -> tuple[SpanVerdict | None, list[bytes]]:
        """Embeds with the model that has not learned from the spans; train splits only.

        Returns:
            The verdict, and the ids of the spans' images; None and none if there are none.
        """
        from components.metadata import serving_files
        from components.training_decision import Embedder
        from pipeline.operations.blame_images import judge_span

        model = next(t.model for t in self.done if t.without == spans and t.blessed)
        assert model is not None
        embedder = Embedder(serving_files(model))

        def embedded(inside: bool) -> Gallery | None:
            uris = [
                str(one["uri"]) for s, one in self.inputs.trained.items() if (s in spans) is inside
            ]
            return embedder.of_folders([f"{uri}/Split-train" for uri in uris])

        span, rest = embedded(True), embedded(False)
        if span is None or rest is None:
            return None, []
        return judge_span(span, rest), span.ids.tolist()


def _scratch(config: Config, work: str | None) -> Config:
    """The same pipeline in a folder of its own, where every training is done."""
    folder = work or f"{config.pipeline.directory}/{config.pipeline.name}"
    pipeline = config.pipeline.model_copy(
        update={"directory": folder, "name": _NAME, "serving": None, "cache": True}
    )
    retraining = config.retraining.model_copy(update={"tolerated_drop": None})
    return config.model_copy(update={"pipeline": pipeline, "retraining": retraining})


@contextlib.contextmanager
def _folder(scratch: Config, folder: Path, *, keep: bool) -> Iterator[None]:
    """Holds the folder of the trials, and empties it in the end."""
    with hold_lock(scratch, "blame"):
        try:
            yield
        finally:
            for path in [] if keep else folder.iterdir():
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                elif path != lock_path(scratch):
                    path.unlink()
    if [*folder.iterdir()] == [lock_path(scratch)]:  # else another call has begun
        shutil.rmtree(folder, ignore_errors=True)


def _check_there(inputs: RunInputs) -> None:
    from tfx.dsl.io import fileio

    for uri in inputs.uris:
        if not fileio.exists(uri):
            raise NotRunError(
                f"What the run read is gone: {uri}. `gc` removed it, or the folder is out of "
                "reach. Ask earlier, or keep more runs with `gc --keep`."
            )
