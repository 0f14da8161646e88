"""What a run came to, in sentences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.metadata import (
    BASELINE,
    CANDIDATE,
    Rejections,
    RunSummary,
    data_rejections,
    model_rejections,
)


def describe_run(record: RunSummary, records: Sequence[RunSummary]) -> Iterator[str]:
    """Says whether a model was pushed, or why none was.

    Args:
        record: The run.
        records: All runs, oldest first, with this one.

    Yields:
        Lines without markup.
    """
    read = _data(record)
    reason = f": {record.reason}" if record.reason else "."
    nothing = "Nothing was pushed: "
    what = {
        "pushed": f"Pushed version {record.version}{_metrics(record)}{read}.",
        "rejected": f"{nothing}the model was rejected{_metrics(record)}{read}{reason}",
        "data rejected": f"{nothing}{record.node} rejected the data{read}{reason}",
        "failed": f"{nothing}{record.node} failed{reason}",
        "killed": f"{nothing}the run was killed at {record.node}{read}.",
        "running": f"The run goes on, at {record.node}{read}.",
        "nothing new": f"{nothing}no new data, every node was cached{read}. "
        + _source(record, records),
    }
    yield from what[record.state].rstrip().splitlines()


def describe_rejections(records: Sequence[RunSummary], alert_after: int) -> Iterator[str]:
    """Says how often models or data were rejected in a row, if they were.

    Args:
        records: All runs, oldest first.
        alert_after: So many rejected models in a row are an alarm.
    """
    models = model_rejections(records)
    if models.count:
        alarm = f" (alarm: alert_after = {alert_after})" if models.count >= alert_after else ""
        yield f"The model was {_times(models)}{alarm}."
    data = data_rejections(records)
    if data.count:
        yield f"The data was {_times(data)}."


def _times(row: Rejections) -> str:
    times = "once" if row.count == 1 else f"{row.count} times in a row"
    return f"rejected {times} since {row.since}"


def _data(record: RunSummary) -> str:
    """The span, and what it was trained with."""
    if record.span is None:
        return ""
    window = f", window {format_spans(record.window)}" if len(record.window) > 1 else ""
    images = f", {record.images:,} images" if record.images else ""
    return f"; span {record.span}{window}{images}"


def _metrics(record: RunSummary) -> str:
    """Main metrics, beside those of the last blessed model on the same data."""
    parts = []
    for name, value in record.metrics.get(CANDIDATE, {}).items():
        if name != "queries":
            before = record.metrics.get(BASELINE, {}).get(name)
            beside = "" if before is None else f" (last blessed {before:.4f})"
            parts.append(f"{name} {value:.4f}{beside}")
    return "".join(f", {part}" for part in sorted(parts, reverse=True))


def _source(record: RunSummary, records: Sequence[RunSummary]) -> str:
    """Where the model of a run without new data came from."""
    earlier = records[: records.index(record)]
    for source in reversed(earlier):
        if source.state == "pushed":
            return f"The model of the run of {source.started} is version {source.version}."
        if source.state == "rejected":
            return f"The model of the run of {source.started} was rejected: {source.reason}"
    return ""


def format_spans(spans: Sequence[int]) -> str:
    """`3`, `3–5` or `3, 5, 7`."""
    if len(spans) > 2 and list(spans) == list(range(spans[0], spans[-1] + 1)):
        return f"{spans[0]}–{spans[-1]}"
    return ", ".join(map(str, spans))
