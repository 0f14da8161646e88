"""Executor of TripletGen."""

from __future__ import annotations

import contextlib
import json
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
from components.triplet_gen.publishing import STATISTICS_FILE, Counts, publish
from components.triplet_gen.statistics import InputStats, OutputStats
from components.triplet_gen.transforms import load_result, make_triplets
from components.triplet_gen.workers import watch_workers
from modules.settings import TripletSettings, check_settings

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
MODEL_KEY = standard_component_specs.MODEL_KEY
TRIPLETS_KEY = "triplets"
SPLITS_KEY = "splits"


def check_splits(splits: Any) -> None:
    """Checks `splits`.

    Raises:
        ValueError: If it is not a list of different, non-empty names.
    """
    if (
        not isinstance(splits, list)
        or not splits
        or not all(isinstance(split, str) and split for split in splits)
        or len(set(splits)) < len(splits)
    ):
        raise ValueError(
            f"TripletGen: {SPLITS_KEY} is {splits!r}, but must be a list of one or more "
            "different names of splits of the input, such as ['train', 'eval']."
        )


class Executor(base_beam_executor.BaseBeamExecutor):
    """Makes triplets of labelled images; see the component for what and why."""

    def Do(  # noqa: N802 (TFX's name)
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Runs one Beam pipeline over all splits, then publishes the counts.

        Args:
            input_dict: `examples`, one or more Examples artifacts with all splits asked for;
                `model`, none or one Model artifact.
            output_dict: `triplets`, one Examples artifact, see the component.
            exec_properties: The fields of `TripletSettings`, each with its default if it is
                absent, and `splits` in JSON.

        Raises:
            ValueError: If a setting is out of range, or triplets cannot be made of a split: it
                is not in the input or has no examples, features are absent, files cannot be
                read, ids are not unique, there is one class only, no class has two examples, or
                the model gives no finite embedding of an image.
            RuntimeError: If examples were lost, or a step of the Beam pipeline failed, as when a
                file cannot be written or a worker process was killed; the message has the cause.
        """
        splits = json.loads(exec_properties[SPLITS_KEY])
        check_splits(splits)
        configured = check_settings(
            TripletSettings,
            {n: exec_properties[n] for n in TripletSettings.model_fields if n in exec_properties},
            "TripletGen",
        )
        settings, model = _resolve_model(configured, input_dict.get(MODEL_KEY) or [])
        examples = input_dict[EXAMPLES_KEY]
        files = [(split, path) for split in splits for path in _files(examples, split)]

        output = artifact_utils.get_single_instance(output_dict[TRIPLETS_KEY])
        output.split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(output, example_gen_pb2.FORMAT_TF_EXAMPLE)
        split_dirs = {s: artifact_utils.get_split_uri([output], s) for s in splits}
        _clear(output.uri)  # of an earlier attempt at this artifact
        try:
            counts = self._write(output.uri, files, settings, split_dirs, model)
            for split in splits:
                _check(split, examples, *counts[split], settings, model)
            for split, folder in split_dirs.items():
                write_preview(tf.io.gfile.glob(f"{folder}/*"), f"{output.uri}/preview-{split}.png")
            # Last, so that an attempt that fails has nothing that looks complete.
            publish(output, counts, configured, settings)
        except BaseException:
            with contextlib.suppress(tf.errors.OpError):  # the first error is the one to see
                _clear(output.uri)
            raise

    def _write(
        self,
        uri: str,
        files: list[tuple[str, str]],
        settings: TripletSettings,
        split_dirs: dict[str, str],
        model: str | None,
    ) -> Counts:
        """Runs the Beam pipeline and loads what it counted."""
        # Beside the splits, where no pattern Split-*/* finds a file that is not finished.
        temp_dir = f"{uri}/.tmp"
        for folder in (temp_dir, *split_dirs.values()):
            tf.io.gfile.makedirs(folder)
        with watch_workers(), self._make_beam_pipeline() as pipeline:
            make_triplets(pipeline, files, settings, split_dirs, temp_dir, model)
        counts = {
            split: (
                load_result(temp_dir, split, InputStats),
                load_result(temp_dir, split, OutputStats),
            )
            for split in split_dirs
        }
        tf.io.gfile.rmtree(temp_dir)
        return counts


def _resolve_model(
    settings: TripletSettings, models: list[types.Artifact]
) -> tuple[TripletSettings, str | None]:
    """What is really done with the models there are, and the SavedModel to do it with."""
    if not settings.needs_model:
        return settings, None
    if not models:
        logging.warning(
            "TripletGen: there is no model yet to mine with (strategy %s, positives %s), so the "
            "triplets of this run are sampled at random.",
            settings.strategy,
            settings.positives,
        )
        return settings.without_model(), None
    return settings, path_utils.serving_model_path(artifact_utils.get_single_instance(models).uri)


def _files(examples: list[types.Artifact], split: str) -> list[str]:
    """All files of a split, over all input artifacts."""
    files: list[str] = []
    for artifact in examples:
        names = artifact_utils.decode_split_names(artifact.split_names)
        if split not in names:
            raise ValueError(
                f"TripletGen: split {split!r} is not in {artifact.uri}, which has "
                f"{', '.join(map(repr, names))}. Name one of those in `{SPLITS_KEY}`, or add the "
                "split to the output config of the component that wrote the examples."
            )
        files += tf.io.gfile.glob(f"{artifact_utils.get_split_uri([artifact], split)}/*")
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


def _check(
    split: str,
    examples: list[types.Artifact],
    read: InputStats,
    written: OutputStats,
    settings: TripletSettings,
    model: str | None,
) -> None:
    """Raises what is wrong with the data of a split, if anything."""
    problem = read.problem()
    if written.duplicates:
        problem = (
            f"ids are not unique ({written.duplicates} repeated, such as "
            f"{written.duplicate!r}). An example with its own copy as positive teaches "
            "nothing; remove the copies or give each image its own id."
        )
    elif written.unusable:
        problem = (
            f"the model {model} gives no usable embedding of some images ({written.unusable}), "
            f"such as {written.unusable_example}. Repair the image or train the model again, or "
            "set strategy = 'random' and positives = 'random', which need no model."
        )
    if problem:
        raise ValueError(_problem(split, examples, problem))
    if written.examples != read.examples or written.unmatched:
        raise RuntimeError(
            f"TripletGen: of {read.examples} examples of split {split!r} {written.examples} "
            f"reached their bucket, and {written.unmatched} found no triplet there. Run again; "
            f"if it persists, raise bucket_size = {settings.bucket_size}."
        )
