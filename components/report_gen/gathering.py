"""What a report says, gathered from the artifacts; what is not there is left out."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from tfx import types
from tfx.types import artifact_utils

from modules.compatibility import CHURN_FILE, COMPATIBILITY_FILE
from modules.gate import read_report
from modules.report import Curve, Facts, Source, read_curves
from modules.retrieval import QUERIES_FILE, KeptQueries, read_kept_queries
from modules.runtime import best_effort, node_times
from modules.settings import EvaluationSettings, ReportSettings, check_settings
from modules.storage import path_exists, read_text

_PACKAGES = (
    "tfx", "tensorflow", "keras", "tensorflow-model-analysis", "apache-beam", "faiss-cpu", "numpy",
    "scikit-learn",
)  # fmt: skip
# Files beside the verdict that other parts may have left, and how the page calls them.
_BESIDE = {
    COMPATIBILITY_FILE: "Compatibility with the last blessed model",
    CHURN_FILE: "Churn: what changed for users",
}
# `modules.audit.AUDIT_FILE`, whose file leads to the code of the audit: an edit there is no reason
# to write the report anew.
_AUDIT_FILE = "audit.json"
_COUNTS = {
    "triplets": "triplets",
    "train_images": "images to train on",
    "classes": "classes to train on",
    "validation_images": "images of the validation part",
    "anchors_without_positive": "classes with one image",
}
_OF_EXAMPLES = {"images": "images", "undecodable": "left out, as they cannot be decoded"}
_SOURCES = {
    "examples": "examples",
    "triplets": "triplets",
    "model": "this model",
    "baseline_model": "last blessed model",
    "model_run": "training logs",
    "evaluation": "evaluation",
    "blessing": "verdict",
}


def gather(
    inputs: Mapping[str, list[types.Artifact]],
    pipeline: str,
    tables: Mapping[str, Any],
    settings: ReportSettings,
) -> Facts:
    """Reads the files of the artifacts.

    Args:
        inputs: Of ReportGen.
        pipeline: Its name.
        tables: Tables of the configuration by name.
        settings: `[report]`.

    Raises:
        OSError: There is no evaluation.
        ValueError: `[evaluation]` is not of this version.
    """
    evaluation = artifact_utils.get_single_uri(inputs["evaluation"])
    blessing = artifact_utils.get_single_instance(inputs["blessing"])
    thresholds = check_settings(EvaluationSettings, tables["evaluation"], "ReportGen")
    runs = inputs.get("model_run") or []
    run = runs[0].uri if runs else None
    return Facts(
        pipeline=pipeline,
        written=time.strftime("%Y-%m-%d %H:%M"),
        evaluation=read_report(evaluation),
        thresholds=thresholds,
        blessed=bool(blessing.get_int_custom_property("blessed"))
        if blessing.has_custom_property("blessed")
        else None,
        reason=blessing.get_string_custom_property("reason"),
        queries=_queries(f"{evaluation}/{QUERIES_FILE}"),
        map_images=settings.map_images,
        curves=_curves(run),
        training=_json(run, "training.json"),
        choices=_json(run, "choices.json"),
        counts=_counts(inputs),
        found={
            **_audits(inputs),
            **{
                title: found
                for name, title in _BESIDE.items()
                for folder in (blessing.uri, evaluation)
                if (found := _json(folder, name))
            },
        },
        settings={**tables, "evaluation": thresholds.model_dump(mode="json")},
        versions={"python": platform.python_version(), **_versions()},
        sources=[
            Source(what, _known_of(one), one.uri)
            for key, what in _SOURCES.items()
            for one in inputs.get(key) or []
        ],
        seconds=node_times.noted(),
    )


def _queries(path: str) -> KeptQueries | None:
    with best_effort("the queries in the report"):
        return read_kept_queries(path) if path_exists(path) else None
    return None


def _curves(folder: str | None) -> list[Curve]:
    if folder:
        with best_effort("the curves in the report"):
            return read_curves(folder)
    return []


def _json(folder: str | None, name: str) -> Any:
    """The contents of a file; nothing if it is not there, or not JSON."""
    path = f"{folder}/{name}"
    if folder:
        with best_effort(f"{name} in the report"):
            return json.loads(read_text(path)) if path_exists(path) else {}
    return {}


def _audits(inputs: Mapping[str, list[types.Artifact]]) -> dict[str, Any]:
    """What DataAudit found, without what it did not."""
    found = {}
    for one in inputs.get("audit") or []:
        if content := _json(one.uri, _AUDIT_FILE):
            content["counts"] = _named(content.get("counts", {}))
            shares = _named(content.get("shares", {}))
            content["shares"] = {name: f"{share:.2%}" for name, share in shares.items()}
            found["Audit of the data"] = _named(content)
    return found


def _named(values: Mapping[str, Any]) -> dict[str, Any]:
    """Those that are not 0 or empty, by their names in words."""
    return {name.replace("_", " "): value for name, value in values.items() if value}


def _counts(inputs: Mapping[str, list[types.Artifact]]) -> list[tuple[str, int]]:
    found = []
    for key, names in (("examples", _OF_EXAMPLES), ("triplets", _COUNTS)):
        artifacts = inputs.get(key) or []
        for name, words in names.items():
            numbers = [one.get_int_custom_property(name) for one in artifacts]
            if total := sum(number or 0 for number in numbers):
                found.append((words, total))
    return found


def _known_of(artifact: types.Artifact) -> str:
    """Its id, and its span where it has one."""
    words = [f"id {artifact.id}"]
    if span := artifact.get_int_custom_property("span"):
        words.append(f"span {span}")
    return ", ".join(words)


def _versions() -> dict[str, str]:
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
