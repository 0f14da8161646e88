"""What Kubeflow's own pages show of a run: metrics, the pushed version, the report.

A task that runs one of these nodes has an artifact of Kubeflow's own for it. Kubeflow reads what it
holds from a file that the pod leaves; its metrics are what the page that compares runs puts side by
side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from components.metadata import BLESSED, PUSHED, REASON, UPDATE_LAST_NODE, VERSION, PipelineRun
from modules.gate import BASELINE, CANDIDATE, CHANGE
from modules.report import report_page

REPORT = "report"  # the output of ReportGen, too
# Node → output of its task, and the type of this in a component file.
OUTPUTS = {
    "Evaluator": ("metrics", "Metrics"),
    "Pusher": ("pushed", "Model"),
    "ReportGen": (REPORT, "HTML"),
    UPDATE_LAST_NODE: ("index_update", "Model"),
}
_FOLDER = "pushed_destination"
_EXAMPLES = ("span", "images")


def outputs_of(nodes: Iterable[str]) -> dict[str, str]:
    """The outputs of a task that runs these nodes, with their types."""
    return dict(OUTPUTS[node] for node in nodes if node in OUTPUTS)


def write_outputs(executor_input: str, run: PipelineRun, report_path: str | None = None) -> None:
    """Leaves for Kubeflow what a run has come to.

    Args:
        executor_input: What Kubeflow gives in place of `{{$}}`, as JSON: the artifacts that it has
            made ready, and the file that it reads.
        run: As far as it has come.
        report_path: Where Kubeflow takes the report from.
    """
    outputs = json.loads(executor_input)["outputs"]
    made = {}
    for name, ready in outputs.get("artifacts", {}).items():
        facts = _FACTS[name](run) if name in _FACTS else {}
        made[name] = {"artifacts": [{**ready["artifacts"][0], "metadata": facts}]}
    if report_path and (page := run.first(REPORT)):
        _copy(report_page(str(page["uri"])), report_path)
    path = Path(outputs["outputFile"])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"artifacts": made}), encoding="utf-8")


def _metrics(run: PipelineRun) -> dict[str, float]:
    """`candidate METRIC`, `baseline METRIC`, `change METRIC`, the verdict, and on what data."""
    found = {
        name: float(value)
        for name, value in run.first("evaluation").items()
        if name.partition(" ")[2] and not isinstance(value, str)
    }
    for name in [name for name in found if name.startswith(f"{CANDIDATE} ")]:
        metric = name.partition(" ")[2]
        if (before := found.get(f"{BASELINE} {metric}")) is not None:
            found[f"{CHANGE} {metric}"] = found[name] - before
    if BLESSED in (verdict := run.first("blessing")):
        found["blessed"] = float(verdict[BLESSED] == 1)
    examples = run.first("examples")
    return found | {name: float(examples[name]) for name in _EXAMPLES if name in examples}


def _pushed(run: PipelineRun) -> dict[str, str]:
    """The version and its folder, or why there is none."""
    pushed = run.first("pushed_model")
    if pushed.get(PUSHED) == 1:
        return {"version": str(pushed[VERSION]), "folder": str(pushed[_FOLDER])}
    return {"version": "none", "reason": str(run.first("blessing").get(REASON, "not blessed"))}


def _index_update(run: PipelineRun) -> dict[str, str]:
    """The version that a skipped run has made with the served model."""
    if UPDATE_LAST_NODE in run.nodes:
        return _pushed(run)
    return {"version": "none", "reason": "the span is trained on"}


_FACTS: dict[str, Callable[[PipelineRun], dict[str, Any]]] = {
    "metrics": _metrics,
    "pushed": _pushed,
    "index_update": _index_update,
}


def _copy(source: str, target: str) -> None:
    from tfx.dsl.io import fileio

    if fileio.exists(source):
        Path(target).parent.mkdir(parents=True, exist_ok=True)
        fileio.copy(source, target, overwrite=True)
