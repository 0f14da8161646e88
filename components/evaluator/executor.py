"""The executor of Evaluator."""

from __future__ import annotations

import json
import math
import os
from typing import Any

from absl import logging
from tensorflow_model_analysis.proto import config_pb2
from tfx import types

# Loads `tfx.components`, also where that is deferred: it gives TFMA the names of its protos.
from tfx.components import Evaluator as _  # noqa: F401
from tfx.components.evaluator import constants, executor as tfx_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, json_utils, proto_utils

from components.evaluator.compatibility import (
    Preparation,
    judge_comparison,
    keep_figures,
    prepare_comparison,
)
from components.evaluator.operating_point import judge_operating_point
from components.evaluator.revocation import revocation
from modules.contract import DISTRACTORS, IS_GALLERY, IS_QUERY
from modules.gate import (
    BASELINE,
    CANDIDATE,
    CHANGE,
    METRIC_CLASS,
    OVERALL,
    Failure,
    Intervals,
    Metrics,
    describe_failures,
    describe_meaningless,
    describe_undecided,
    drop_undefined_failures,
    operating_point_path,
    read_intervals,
    read_metrics,
    write_report,
)
from modules.retrieval import (
    INTERVAL_LEVEL,
    OPERATING_FRR,
    OPERATING_THRESHOLD,
    QUERIES_FILE,
    Kept,
    lower_end,
    upper_end,
)
from modules.storage import feature_types

GALLERY_KEY = "gallery"
GALLERY_SPLIT_KEY = "gallery_split"
NEIGHBOURS_KEY = "kept_neighbours"
EMBEDDINGS_FOLDER = "embeddings"  # in the node's temporary folder, which all workers reach
REASON_PROPERTY = "reason"
REASONS_FILE = "reasons.txt"
ALL_MET = "every threshold is met"
NO_REASON = "TFMA rejected the model and named no threshold: see its validation result"

_OF_POINT = (OPERATING_THRESHOLD, OPERATING_FRR)
_LINES_IN_PROPERTY = 50  # a metadata database may hold 64 KB in a property


class Executor(tfx_executor.Executor):
    """Runs TFX's executor around the choice of a gallery and the reasons of the verdict.

    Source: `tfx.components.evaluator.executor.Executor`.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Evaluates the candidate, blesses it or not, and writes why, also to `evaluation.json`.

        Args:
            input_dict: `examples`, `model`, and if there are any `baseline_model`, `gallery`,
                `baseline_blessing`.
            output_dict: `evaluation` and `blessing`. The main metrics of the whole split are kept
                on the former as double properties `candidate NAME` and `baseline NAME`, and the
                intervals of their changes as `change NAME lower`, `change NAME upper` and
                `change interval level`, so that many runs can be compared without their files.
                The latter gets the operating point, if one was asked for.
            exec_properties: TFX's, `gallery_split`, `max_threshold_shift`, `compatibility` and
                `kept_neighbours`.

        Raises:
            ValueError: The gallery has no such split, or TFX cannot use its inputs.

        The flags `is_query` and `is_gallery` count where the first example has them; then each
        must. A split `distractors` of the inputs is part of the gallery.
        """
        evaluation = artifact_utils.get_single_uri(output_dict[constants.EVALUATION_KEY])
        prepared = prepare_comparison(input_dict, evaluation, exec_properties)
        embeddings = f"{self._get_tmp_dir()}{EMBEDDINGS_FOLDER}"
        exec_properties = _for_extractors(
            input_dict, exec_properties, evaluation, prepared, embeddings
        )
        try:
            super().Do(input_dict, output_dict, exec_properties)
        finally:
            if fileio.exists(embeddings):
                fileio.rmtree(embeddings)
        blessing = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.BLESSING_KEY]
        )
        metrics = read_metrics(evaluation)
        intervals = read_intervals(evaluation)
        operating = judge_operating_point(input_dict, exec_properties, metrics, intervals)
        compared = judge_comparison(prepared, evaluation, blessing.uri)
        artifact = artifact_utils.get_single_instance(output_dict[constants.EVALUATION_KEY])
        if compared:
            keep_figures(artifact, compared)
        _keep_main_metrics(artifact, metrics)
        _keep_changes(artifact, metrics, intervals)
        failures: list[Failure] = []
        undecided: list[Failure] = []
        if not blessing.has_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY):
            verdict = "not judged", "there are no thresholds, so the model cannot be blessed"
        else:
            if drop_undefined_failures(evaluation, metrics):
                _bless(blessing, constants.BLESSED_VALUE)
            eval_config = _eval_config(exec_properties)
            ours = [*describe_meaningless(eval_config, metrics), *operating.failures]
            ours += compared.failures if compared else []
            if ours:
                _bless(blessing, constants.NOT_BLESSED_VALUE)
            blessed = blessing.get_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY)
            failures = [*ours, *describe_failures(evaluation, metrics, intervals)]
            undecided = describe_undecided(eval_config, metrics, intervals) + operating.notes
            lines = [str(failure) for failure in failures]
            if not lines:
                lines = [ALL_MET if blessed else NO_REASON]
            lines += [f"passed all the same: {one}" for one in undecided]
            verdict = ("BLESSED" if blessed else "NOT BLESSED"), _reason(lines)
            text = "\n".join(lines)
            model = artifact_utils.get_single_uri(input_dict[standard_component_specs.MODEL_KEY])
            if revoked := revocation(model):  # by a rollback; no figures bring it back
                _bless(blessing, constants.NOT_BLESSED_VALUE)
                verdict, text = ("NOT BLESSED", revoked), revoked
            io_utils.write_string_file(_path(blessing, REASONS_FILE), text + "\n")
        if operating.point:
            text = operating.point.model_dump_json(indent=1) + "\n"
            io_utils.write_string_file(operating_point_path(blessing.uri), text)
        write_report(
            evaluation,
            metrics,
            failures,
            intervals=intervals,
            undecided=undecided,
            operating_point=operating.point,
            shift=operating.shift,
        )
        blessing.set_string_custom_property(REASON_PROPERTY, verdict[1])
        logging.info("Evaluator: %s: %s", _figures(metrics), ": ".join(verdict))


def _for_extractors(
    input_dict: dict[str, list[types.Artifact]],
    exec_properties: dict[str, Any],
    evaluation: str,
    prepared: Preparation | None,
    embeddings: str,
) -> dict[str, Any]:
    """Tells the metric where gallery and distractors are, and which flags the examples have.

    And what is kept of the queries, and compared with the last blessed model, and where the search
    keeps embeddings.
    """
    examples = input_dict[standard_component_specs.EXAMPLES_KEY]
    splits = exec_properties.get(standard_component_specs.EXAMPLE_SPLITS_KEY)
    evaluated = json_utils.loads(splits or "null") or ["eval"]
    features = _features([pattern for split in evaluated for pattern in _files(examples, split)])
    found: dict[str, Any] = {
        "query_flag": IS_QUERY in features,
        "embeddings_folder": embeddings,
    }
    if neighbours := exec_properties.get(NEIGHBOURS_KEY):
        found["kept"] = Kept(f"{evaluation}/{QUERIES_FILE}", neighbours)._asdict()
    if split := exec_properties.get(GALLERY_SPLIT_KEY):
        source = GALLERY_KEY if input_dict.get(GALLERY_KEY) else "examples"
        for artifact in input_dict[source]:
            there = artifact_utils.decode_split_names(artifact.split_names)
            if split not in there:
                raise ValueError(
                    f"gallery_split is {split!r}, but the {source} artifact {artifact.uri} has the "
                    f"splits {there}"
                )
        found["gallery_files"] = _files(input_dict[source], split)
        features = _features(found["gallery_files"])
    sources = [*examples, *(input_dict.get(GALLERY_KEY) or [])]
    if files := list(dict.fromkeys(_files(sources, DISTRACTORS))):
        found["distractor_files"] = files
        features |= _features(files)
    found["gallery_flag"] = IS_GALLERY in features
    found["compatibility"] = prepared.options if prepared else None
    eval_config = _eval_config(exec_properties)
    for spec in eval_config.metrics_specs:
        for metric in spec.metrics:
            if metric.class_name == METRIC_CLASS:
                settings = json.loads(metric.config)
                metric.config = json.dumps({**settings, **found})
    return {
        **exec_properties,
        standard_component_specs.EVAL_CONFIG_KEY: proto_utils.proto_to_json(eval_config),
    }


def _files(artifacts: list[types.Artifact], split: str) -> list[str]:
    """A pattern of the files of a split, for each artifact."""
    return [
        io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], split))
        for artifact in artifacts
        if split in artifact_utils.decode_split_names(artifact.split_names)
    ]


def _features(patterns: list[str]) -> set[str]:
    """Names of the features of the first example."""
    files = [file for pattern in patterns for file in sorted(fileio.glob(pattern))]
    return set(feature_types(files))


def _eval_config(exec_properties: dict[str, Any]) -> config_pb2.EvalConfig:
    eval_config = config_pb2.EvalConfig()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.EVAL_CONFIG_KEY], eval_config
    )
    return eval_config


def _path(artifact: types.Artifact, name: str) -> str:
    return os.path.join(artifact.uri, name)  # noqa: PTH118 — may be a URI


def _bless(blessing: types.Artifact, value: int) -> None:
    """Makes the artifact what TFX's executor writes for a blessed model, or for a rejected one."""
    files = {
        constants.BLESSED_VALUE: constants.BLESSED_FILE_NAME,
        constants.NOT_BLESSED_VALUE: constants.NOT_BLESSED_FILE_NAME,
    }
    name = constants.ARTIFACT_PROPERTY_BLESSED_KEY
    before = blessing.get_int_custom_property(name)
    if before != value:
        fileio.remove(_path(blessing, files[before]))
        io_utils.write_string_file(_path(blessing, files[value]), "")
        blessing.set_int_custom_property(name, value)


def _reason(lines: list[str]) -> str:
    """The first lines, and how many more there are."""
    shown = lines[:_LINES_IN_PROPERTY]
    if more := len(lines) - len(shown):
        shown.append(f"and {more:,} more, in {REASONS_FILE}")
    return "\n".join(shown)


def _figures(metrics: Metrics) -> str:
    """The main metrics of the whole split, in one line."""
    values = metrics[CANDIDATE][OVERALL]
    figures = ", ".join(f"{name} {values[name]:.4f}" for name in _main_metrics(values))
    return f"{figures} of {values['queries']:,.0f} queries"


def _main_metrics(values: dict[str, float]) -> list[str]:
    """Precision at the first k, and MAP@R."""
    return [next(name for name in values if name.startswith("precision@")), "map@r"]


def _keep_main_metrics(evaluation: types.Artifact, metrics: Metrics) -> None:
    for model in (CANDIDATE, BASELINE):
        values = metrics.get(model, {}).get(OVERALL, {})
        kept = [*_main_metrics(values), "queries"] if values else []
        for name in kept + [one for one in _OF_POINT if one in values]:
            if math.isfinite(values[name]):  # a database has no NaN
                evaluation.set_float_custom_property(f"{model} {name}", values[name])


def _keep_changes(evaluation: types.Artifact, metrics: Metrics, intervals: Intervals) -> None:
    """The intervals of the changes of the main metrics, and their level."""
    found = intervals.get(CHANGE, {}).get(OVERALL, {})
    for name in _main_metrics(metrics[CANDIDATE][OVERALL]):
        if name in found:
            for end, value in zip((lower_end, upper_end), found[name], strict=True):
                evaluation.set_float_custom_property(f"{CHANGE} {end(name)}", value)
            level = metrics[CHANGE][OVERALL][INTERVAL_LEVEL]
            evaluation.set_float_custom_property(f"{CHANGE} {INTERVAL_LEVEL}", level)
