"""What Evaluator makes of the last blessed model's vectors: figures, verdict, and a map.

Before TFX's executor runs, this prepares what is compared and tells the extractors of
`modules.evaluator`; after it, their figures become the verdict and its files.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2
from tfx import types
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import io_utils, path_utils

from components.evaluator.logged_queries import write_queries
from modules.compatibility import (
    COMPATIBILITY_FOLDER,
    MAP_FILE,
    ChurnReport,
    CompatibilityReport,
    churn_path,
    compatibility_path,
    find_verdict,
    judge_churn,
    judge_compatibility,
    read_across,
    read_changed_results,
)
from modules.gate import Failure
from modules.index import model_fingerprint
from modules.retrieval import EMBEDDING, SIGNATURE
from modules.settings import CompatibilitySettings, check_settings
from modules.storage import read_file, write_file

COMPATIBILITY_KEY = "compatibility"  # the table, as JSON
QUERIES_FINGERPRINT_KEY = "queries_fingerprint"
_FOLDER = ".comparison"  # below the evaluation while it goes on
_TRAIN = "train"


class Preparation(NamedTuple):
    """What is compared.

    Attributes:
        settings: The table.
        options: For the extractors, see `modules.evaluator`.
        models: Folders of the last blessed model and of the candidate.
        dimensions: Of their embeddings.
        unusable: Logged queries that cannot be used.
    """

    settings: CompatibilitySettings
    options: dict[str, Any]
    models: tuple[str, str]
    dimensions: list[int]
    unusable: int


class Compared(NamedTuple):
    """What was found; `churn` is None without logged queries."""

    report: CompatibilityReport
    churn: ChurnReport | None
    failures: list[Failure]


def prepare_comparison(
    input_dict: Mapping[str, Sequence[types.Artifact]],
    evaluation: str,
    exec_properties: Mapping[str, Any],
) -> Preparation | None:
    """Looks at both models and gathers images for the map and the logged queries.

    Args:
        input_dict: Of Evaluator.
        evaluation: The uri of its `evaluation`.
        exec_properties: Of Evaluator.

    Returns:
        None if nothing is to be compared, or there is no last blessed model.

    Raises:
        ValueError: A setting is not allowed, or a model has no embedding.
    """
    text = exec_properties.get(COMPATIBILITY_KEY)
    baselines = input_dict.get(standard_component_specs.BASELINE_MODEL_KEY)
    if not text or not baselines:
        return None
    settings = check_settings(CompatibilitySettings, json.loads(text), "Evaluator")
    if not settings.enabled:
        return None
    old, new = (
        path_utils.serving_model_path(one.uri)
        for one in (baselines[0], input_dict[standard_component_specs.MODEL_KEY][0])
    )
    dimensions = [_dimension(old), _dimension(new)]
    folder = f"{evaluation}/{_FOLDER}"
    tf.io.gfile.makedirs(folder)
    examples = input_dict[standard_component_specs.EXAMPLES_KEY]
    paired, logged = f"{folder}/paired.gz", f"{folder}/logged.gz"
    usable = unusable = 0
    if settings.queries is not None:
        usable, unusable = write_queries(settings.queries, logged)
    options = {
        "folder": folder,
        "crosses": dimensions[0] == dimensions[1],
        "paired_files": [paired] if _write_sample(examples, settings.map_images, paired) else [],
        "query_files": [logged] if usable else [],
        "k": settings.k,
        "outside_quantile": settings.outside_quantile,
    }
    return Preparation(settings, options, (old, new), dimensions, unusable)


def judge_comparison(
    prepared: Preparation | None, evaluation: str, blessing: str
) -> Compared | None:
    """Turns the figures into the verdict, and writes the files.

    Args:
        prepared: What `prepare_comparison` returned.
        evaluation: The uri of Evaluator's `evaluation`, which gets `compatibility.json` and
            `churn.json`.
        blessing: The uri of its `blessing`, which gets the folder that is pushed with the model.
    """
    if prepared is None:
        return None
    settings, options = prepared.settings, prepared.options
    across = read_across(options["folder"])
    verdict, why = find_verdict(
        across.own, across.ways, prepared.dimensions, settings.max_cross_drop
    )
    report = CompatibilityReport(
        verdict=verdict,
        why=why,
        queries=across.queries,
        own=across.own,
        ways=across.ways,
        dimensions=prepared.dimensions,
        map_images=across.map_images,
        baseline=model_fingerprint(prepared.models[0]),
        candidate=model_fingerprint(prepared.models[1]),
    )
    report = report.model_copy(update={"failures": judge_compatibility(report, settings)})
    text = report.model_dump_json(indent=1).encode() + b"\n"
    pushed = f"{blessing}/{COMPATIBILITY_FOLDER}"
    for folder in (evaluation, pushed):
        write_file(compatibility_path(folder), text)
    if verdict == "map":
        write_file(f"{pushed}/{MAP_FILE}", read_file(f"{options['folder']}/{MAP_FILE}"))
    churn = _churn(prepared)
    if churn is not None:
        write_file(churn_path(evaluation), churn.model_dump_json(indent=1).encode() + b"\n")
    tf.io.gfile.rmtree(options["folder"])
    return Compared(report, churn, [*report.failures, *(churn.failures if churn else [])])


def keep_figures(evaluation: types.Artifact, compared: Compared) -> None:
    """Notes the verdict and the main figures on the artifact, for many runs without their files.

    The string property `verdict`, and the double properties `cross precision@1`, `negative flips`
    and `changed results`, where there are such.
    """
    report, churn = compared.report, compared.churn
    evaluation.set_string_custom_property("verdict", report.verdict)
    figures = {
        "cross precision@1": report.ways["keep"].precision_at_1 if "keep" in report.ways else None,
        "negative flips": report.ways["re_embed"].negative_flips,
        "changed results": churn.changed if churn else None,
    }
    for name, value in figures.items():
        if value is not None and math.isfinite(value):  # a database has no NaN
            evaluation.set_float_custom_property(name, value)


def _churn(prepared: Preparation) -> ChurnReport | None:
    settings, options = prepared.settings, prepared.options
    if settings.queries is None:
        return None
    if options["query_files"]:
        found = read_changed_results(options["folder"])
    else:  # nothing is logged yet, or nothing that can be used
        found = {"queries": 0, "k": settings.k} | dict.fromkeys(
            ("changed", "overlap", "outside_before", "outside", "limit_before", "limit")
        )
    churn = ChurnReport(unusable=prepared.unusable, **found)
    return churn.model_copy(update={"failures": judge_churn(churn, settings)})


def _write_sample(examples: Sequence[types.Artifact], most: int, path: str) -> int:
    """Copies the first examples of each file of the train split, about as many of each.

    Returns:
        How many there are; without a train split none.
    """
    files = [
        file
        for artifact in examples
        if _TRAIN in artifact_utils.decode_split_names(artifact.split_names)
        for file in sorted(
            tf.io.gfile.glob(
                io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], _TRAIN))
            )
        )
    ]
    written = 0
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for number, file in enumerate(files):
            # What short files leave goes to those behind.
            share = -(-(most - written) // (len(files) - number))
            records = tf.data.TFRecordDataset(file, "GZIP").as_numpy_iterator()
            for record in islice(records, share):
                writer.write(record)
                written += 1
    return written


def _dimension(model: str) -> int:
    """D of a SavedModel, by its signature, without loading it.

    Raises:
        ValueError: It has no such signature.
    """
    graphs = saved_model_pb2.SavedModel.FromString(read_file(f"{model}/saved_model.pb")).meta_graphs
    outputs = graphs[0].signature_def[SIGNATURE].outputs
    if EMBEDDING not in outputs:
        raise ValueError(
            f"Evaluator: the model {model} has no {EMBEDDING!r} in its signature {SIGNATURE!r}. "
            "Export it with the trainer of this project."
        )
    return int(outputs[EMBEDDING].tensor_shape.dim[-1].size)
