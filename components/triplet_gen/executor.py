"""Executor of TripletGen."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import path_utils

from components.triplet_gen.preview import write_preview
from components.triplet_gen.publishing import STATISTICS_FILE, publish
from components.triplet_gen.results import load_result
from components.triplet_gen.statistics import InputStats, OutputStats
from components.triplet_gen.transforms import make_triplets
from components.triplet_gen.validation import PARTS, TRAIN
from components.triplet_gen.workers import watch_workers
from modules.audit import read_suspects
from modules.runtime import best_effort
from modules.settings import ImageTable, TripletSettings, check_settings

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
MODEL_KEY = standard_component_specs.MODEL_KEY
AUDIT_KEY = "audit"
TRIPLETS_KEY = "triplets"
TRAIN_SPLIT_KEY = "train_split"
BACKGROUND_KEY = "background"
EVAL_SPLIT_KEY = "eval_split"


def check_splits(train_split: str, eval_split: str) -> None:
    """Checks the names of the splits.

    Raises:
        ValueError: If one is empty, or both are the same.
    """
    if not train_split or not eval_split or train_split == eval_split:
        raise ValueError(
            f"TripletGen: {TRAIN_SPLIT_KEY} is {train_split!r} and {EVAL_SPLIT_KEY} is "
            f"{eval_split!r}, but they must be the names of two splits, such as 'train' and 'eval'."
        )


class Executor(base_beam_executor.BaseBeamExecutor):
    """Makes triplets of labelled images; see the component for what and why."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs one Beam pipeline over the train split, then publishes the counts.

        Args:
            input_dict: `examples`, one or more Examples artifacts with the train split; `model`,
                none or one Model artifact; `audit`, none or one of DataAudit.
            output_dict: `triplets`, one Examples artifact, see the component.
            exec_properties: The fields of `TripletSettings`, each with its default if it is
                absent, `train_split`, `eval_split` and `background`.

        Raises:
            ValueError: If a setting is out of range, or triplets cannot be made of the split: it
                is not in the input or has no examples, features are absent, files cannot be
                read, ids are not unique, there is one class only, no class has two examples,
                nothing can be held out, or the model gives no finite embedding of an image.
            RuntimeError: If examples were lost, or a step of the Beam pipeline failed, as when a
                file cannot be written or a worker process was killed; the message has the cause.
        """
        split, eval_split = exec_properties[TRAIN_SPLIT_KEY], exec_properties[EVAL_SPLIT_KEY]
        check_splits(split, eval_split)
        configured = check_settings(
            TripletSettings,
            {n: exec_properties[n] for n in TripletSettings.model_fields if n in exec_properties},
            "TripletGen",
        )
        settings, model = _resolve_model(configured, input_dict.get(MODEL_KEY) or [])
        examples = input_dict[EXAMPLES_KEY]
        files = _train_files(examples, split)
        eval_files = _files(examples, eval_split) if settings.validation == "auto" else []
        suspects: frozenset[bytes] = frozenset()
        for audit in input_dict.get(AUDIT_KEY) or [] if settings.heeds_suspects else []:
            suspects |= read_suspects(audit.uri)

        output = artifact_utils.get_single_instance(output_dict[TRIPLETS_KEY])
        output.split_names = artifact_utils.encode_split_names(list(PARTS))
        examples_utils.set_payload_format(output, example_gen_pb2.FORMAT_TF_EXAMPLE)
        _clear(output.uri)  # of an earlier attempt at this artifact
        try:
            read, written = self._write(output, files, eval_files, settings, model, suspects)
            problem = _problem_of_data(read, written, model)
            if problem:
                raise ValueError(_problem(split, examples, problem))
            _check_none_lost(read, written, settings)
            with best_effort("the preview of the triplets"):
                write_preview(
                    written[TRAIN].first_file,
                    f"{output.uri}/preview-{TRAIN}.png",
                    background=exec_properties.get(BACKGROUND_KEY) or ImageTable().background,
                )
            # Last, so that an attempt that fails has nothing that looks complete.
            publish(output, read, written[TRAIN], configured, settings)
        except BaseException:
            with contextlib.suppress(tf.errors.OpError):  # the first error is the one to see
                _clear(output.uri)
            raise

    def _write(
        self,
        output: types.Artifact,
        files: list[str],
        eval_files: list[str],
        settings: TripletSettings,
        model: str | None,
        suspects: frozenset[bytes],
    ) -> tuple[InputStats, dict[str, OutputStats]]:
        """Runs the Beam pipeline and loads what it counted."""
        folders = {part: artifact_utils.get_split_uri([output], part) for part in PARTS}
        # Beside the splits, where no pattern Split-*/* finds a file that is not finished.
        temp_dir = f"{output.uri}/.tmp"
        for folder in (temp_dir, *folders.values()):
            tf.io.gfile.makedirs(folder)
        with watch_workers(), self._make_beam_pipeline() as pipeline:
            make_triplets(pipeline, files, eval_files, settings, folders, temp_dir, model, suspects)
        read = load_result(temp_dir, InputStats)
        written = {part: load_result(temp_dir, OutputStats, part) for part in PARTS}
        tf.io.gfile.rmtree(temp_dir)
        return read, written


def _resolve_model(
    settings: TripletSettings, models: list[types.Artifact]
) -> tuple[TripletSettings, str | None]:
    """What is really done with the models there are, and the SavedModel to do it with."""
    if not settings.needs_model:
        return settings, None
    if not models:
        logging.warning(
            "TripletGen: there is no model yet to mine with (strategy %s, positives %s, buckets "
            "%s), so the triplets of this run are sampled at random.",
            settings.strategy,
            settings.positives,
            settings.buckets,
        )
        return settings.without_model(), None
    return settings, path_utils.serving_model_path(artifact_utils.get_single_instance(models).uri)


def _files(examples: list[types.Artifact], split: str) -> list[str]:
    """All files of a split, over the input artifacts that have it."""
    folders = [
        artifact_utils.get_split_uri([artifact], split)
        for artifact in examples
        if split in artifact_utils.decode_split_names(artifact.split_names)
    ]
    return [path for folder in folders for path in tf.io.gfile.glob(f"{folder}/*")]


def _train_files(examples: list[types.Artifact], split: str) -> list[str]:
    """All files of the train split, which every input artifact must have."""
    for artifact in examples:
        names = artifact_utils.decode_split_names(artifact.split_names)
        if split not in names:
            raise ValueError(
                f"TripletGen: split {split!r} is not in {artifact.uri}, which has "
                f"{', '.join(map(repr, names))}. Name one of those in `{TRAIN_SPLIT_KEY}`, or add "
                "the split to the output config of the component that wrote the examples."
            )
    files = _files(examples, split)
    if not files:
        raise ValueError(_problem(split, examples, InputStats().problem() or ""))
    return files


def _clear(uri: str) -> None:
    """Removes all that an attempt may have left, complete or not."""
    for name in (".tmp", "Split-*", "preview-*.png", STATISTICS_FILE):
        for path in tf.io.gfile.glob(f"{uri}/{name}"):
            if tf.io.gfile.isdir(path):
                tf.io.gfile.rmtree(path)
            else:
                tf.io.gfile.remove(path)


def _problem(split: str, examples: list[types.Artifact], what: str) -> str:
    uris = ", ".join(artifact_utils.get_split_uri([artifact], split) for artifact in examples)
    return f"TripletGen: no triplets can be made of split {split!r} ({uris}): {what}"


def _problem_of_data(
    read: InputStats, written: Mapping[str, OutputStats], model: str | None
) -> str | None:
    """Says what is wrong with the data, if anything."""
    train = written[TRAIN]
    if train.duplicates:
        return (
            f"ids are not unique ({train.duplicates} repeated, such as {train.duplicate!r}). An "
            "example with its own copy as positive teaches nothing; remove the copies or give each "
            "image its own id."
        )
    if train.unusable:
        return (
            f"the model {model} gives no usable embedding of some images ({train.unusable}), "
            f"such as {train.unusable_example}. Repair the image or train the model again, or "
            "set strategy = 'random', positives = 'random' and buckets = 'hash', which need none."
        )
    return read.problem()


def _check_none_lost(
    read: InputStats, written: Mapping[str, OutputStats], settings: TripletSettings
) -> None:
    """Raises RuntimeError if not every example is where it should be."""
    plan = read.validation_plan(settings)
    expected = [sum(plan.train.values()), sum(plan.validation.values())]
    found = [written[part].examples for part in PARTS]
    if found != expected or written[TRAIN].unmatched:
        raise RuntimeError(
            f"TripletGen: of {expected} examples of {' and '.join(PARTS)} {found} reached their "
            f"bucket, and {written[TRAIN].unmatched} found no triplet there. Run again; if it "
            f"persists, raise bucket_size = {settings.bucket_size}."
        )
