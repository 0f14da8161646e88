"""What a run came to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.metadata import (
    BASELINE,
    CANDIDATE,
    Evaluation,
    Rejections,
    RunState,
    RunSummary,
    data_rejections,
    model_rejections,
)

_GAINED = "map@r"
_TRAININGS = 5  # that a mean is taken of


def describe_run(run: RunSummary, runs: Sequence[RunSummary]) -> Iterator[str]:
    """Says whether a model was pushed, or why none was.

    Args:
        run: The run.
        runs: All runs, oldest first, with this one.

    Yields:
        Lines without markup.
    """
    text = run.state.meaning.sentence.format(
        version=run.version,
        node=run.node,
        metrics=_metrics(run),
        data=_data(run),
        reason=f": {run.reason}" if run.reason else ".",
        source=_source(run, runs),
    )
    yield from text.rstrip().splitlines()
    if run.state is RunState.SKIPPED:
        yield from _index_of_served(run)
        yield from _gain_and_cost(runs[: runs.index(run)])
    elif run.trained and run.decision:
        yield f"Trained, since {run.decision}."


def describe_rejections(runs: Sequence[RunSummary], alert_after: int) -> Iterator[str]:
    """Says how often models or data were rejected in a row, if they were.

    Args:
        runs: All runs, oldest first.
        alert_after: So many rejected models in a row are an alarm.
    """
    models = model_rejections(runs)
    if models.count:
        alarm = f" (alarm: alert_after = {alert_after})" if models.count >= alert_after else ""
        yield f"The model was {_times(models)}{alarm}."
    data = data_rejections(runs)
    if data.count:
        yield f"The data was {_times(data)}."


def describe_operating_point(evaluation: Evaluation) -> Iterator[str]:
    """Says what the operating point accepts, and how far it is from the last blessed model's."""
    point, shift = evaluation.operating_point, evaluation.shift
    if point is None:
        return
    yield (
        f"Operating point: a squared distance below {point.threshold:.4f}"
        f"{_ends(point.threshold_interval)}, a cosine similarity above {point.similarity:.4f}, "
        f"accepts {point.true_accept_rate:.4f}{_ends(point.true_accept_rate_interval)} of the "
        f"pairs of one class and {point.measured_false_accept_rate:.6f}"
        f"{_ends(point.measured_false_accept_rate_interval, 6)} of two."
    )
    if shift is None:
        return
    apart = []
    if shift.stored is not None and shift.from_stored is not None:
        apart.append(
            f"{shift.from_stored:.2%} from {shift.stored:.4f}, stored with the last blessed model"
        )
    if shift.baseline is not None and shift.from_baseline is not None:
        apart.append(
            f"{shift.from_baseline:.2%} from {shift.baseline:.4f}, that model's on these images"
        )
    if apart:
        yield f"The threshold is {', '.join(apart)}."


def _index_of_served(run: RunSummary) -> Iterator[str]:
    """What the index of the served model has become."""
    if run.version is not None and run.index:
        images, added, kept, removed = (
            int(run.index[key]) for key in ("images", "added", "kept", "removed")
        )
        yield (
            f"Version {run.version} has the same model and an index of {images:,} images: "
            f"{added:,} added, {kept:,} kept, {removed:,} removed."
        )


def _gain_and_cost(runs: Sequence[RunSummary]) -> Iterator[str]:
    """What a training would have brought and taken, going by the last ones."""
    found = [
        (now - before, run.training_seconds)
        for run in runs
        if run.training_seconds is not None
        and (now := run.metric(CANDIDATE, _GAINED)) is not None
        and (before := run.metric(BASELINE, _GAINED)) is not None
    ][-_TRAININGS:]
    if found:
        gain, seconds = (sum(values) / len(found) for values in zip(*found, strict=True))
        last = "The last training" if len(found) == 1 else f"The last {len(found)} trainings"
        each = "" if len(found) == 1 else " each, on average"
        yield (
            f"{last} changed {_GAINED} of the last blessed model by {gain:+.4f} and took the "
            f"Trainer {seconds:,.0f} s{each}: that is what skipping forgoes and saves."
        )


def _ends(interval: tuple[float, float] | None, digits: int = 4) -> str:
    return f" [{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]" if interval else ""


def _times(row: Rejections) -> str:
    times = "once" if row.count == 1 else f"{row.count} times in a row"
    return f"rejected {times} since {row.since}"


def _data(run: RunSummary) -> str:
    """The span, and what it was trained with."""
    if run.span is None:
        return ""
    window = f", window {format_spans(run.window)}" if len(run.window) > 1 else ""
    images = f", {run.images:,} images" if run.images else ""
    return f"; span {run.span}{window}{images}"


def _metrics(run: RunSummary) -> str:
    """Main metrics, beside those of the last blessed model on the same data."""
    parts = []
    for name, value in run.metrics.get(CANDIDATE, {}).items():
        if name != "queries":
            before = run.metrics.get(BASELINE, {}).get(name)
            beside = "" if before is None else f" (last blessed {before:.4f})"
            parts.append(f"{name} {value:.4f}{beside}")
    return "".join(f", {part}" for part in sorted(parts, reverse=True))


def _source(run: RunSummary, runs: Sequence[RunSummary]) -> str:
    """Where the model of a run without new data came from."""
    for earlier in reversed(runs[: runs.index(run)]):
        if origin := earlier.state.meaning.origin:
            return origin.format(
                started=earlier.started, version=earlier.version, reason=earlier.reason
            )
    return ""


def format_spans(spans: Sequence[int]) -> str:
    """`3`, `3–5` or `3, 5, 7`."""
    if len(spans) > 2 and list(spans) == list(range(spans[0], spans[-1] + 1)):
        return f"{spans[0]}–{spans[-1]}"
    return ", ".join(map(str, spans))
