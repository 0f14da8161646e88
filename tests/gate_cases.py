"""The gate on given metrics: TFMA's own validation, without evaluating a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf
import tensorflow_model_analysis as tfma
from tensorflow_model_analysis.evaluators import metrics_validator
from tensorflow_model_analysis.metrics import metric_types
from tensorflow_model_analysis.proto import config_pb2, validation_result_pb2

from modules.gate import make_eval_config
from modules.gate.report import BASELINE, CANDIDATE, CHANGE, OVERALL, Metrics
from modules.settings import EvaluationSettings

Values = Mapping[str, Mapping[str, float]]  # slice such as `label=3` → metric → value


def eval_config(
    ks: list[int],
    thresholds: dict | None = None,
    *,
    gallery_files: list[str] | None = None,
    **settings: Any,
) -> config_pb2.EvalConfig:
    """What the gate writes for these settings, with `[evaluation]`'s default thresholds if none."""
    if thresholds is not None:
        settings["thresholds"] = thresholds
    elif 1 not in ks:
        settings["thresholds"] = {"map@r": {"lower": 0.5}}
    return make_eval_config(EvaluationSettings(ks=ks, **settings), gallery_files=gallery_files)


def validate(
    folder: Path,
    config: config_pb2.EvalConfig,
    candidate: Values,
    baseline: Values | None = None,
    changes: Values | None = None,
) -> Metrics:
    """Writes into `folder` the validation result that TFMA would write for these metrics.

    Args:
        folder: Where to.
        config: What `eval_config` returned.
        candidate: Its metrics.
        baseline: Those of the last blessed model.
        changes: What `RetrievalChanges` would add to their differences.

    Returns:
        The metrics as `modules.gate.result.read_metrics` would read them.
    """
    config = tfma.utils.update_eval_config_with_defaults(
        config, has_baseline=baseline is not None, rubber_stamp=True
    )
    result = validation_result_pb2.ValidationResult(validation_ok=True)
    metrics: Metrics = {CANDIDATE: {k: dict(v) for k, v in candidate.items()}}
    if baseline is not None:
        metrics[BASELINE] = {k: dict(v) for k, v in baseline.items()}
        metrics[CHANGE] = {
            where: {name: value - baseline[where][name] for name, value in values.items()}
            for where, values in candidate.items()
        }
        for where, values in (changes or {}).items():
            metrics[CHANGE][where] |= values
    for where in candidate:
        key = () if where == OVERALL else (tuple(where.split("=")),)
        of_slice = {}
        for kind, by_slice in metrics.items():
            for name, value in by_slice[where].items():
                model = "" if baseline is None else BASELINE if kind == BASELINE else CANDIDATE
                metric = metric_types.MetricKey(
                    name=name, model_name=model, is_diff=kind == CHANGE, example_weighted=None
                )
                of_slice[metric] = value
        checked = metrics_validator.validate_metrics((key, of_slice), config)
        result.validation_ok &= checked.validation_ok
        result.metric_validations_per_slice.extend(checked.metric_validations_per_slice)
    with tf.io.TFRecordWriter(str(folder / "validations.tfrecord")) as writer:
        writer.write(result.SerializeToString())
    return metrics
