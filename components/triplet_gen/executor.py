"""Executor of TripletGen."""

from __future__ import annotations

import json
from typing import Any

import tensorflow as tf
from absl import logging
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs

from components.triplet_gen.gallery import write_gallery
from components.triplet_gen.statistics import InputStats
from components.triplet_gen.transforms import SUMMARY_FILE, Settings, make_triplets

EXAMPLES_KEY = standard_component_specs.EXAMPLES_KEY
TRIPLETS_KEY = "triplets"
TRIPLETS_PER_ANCHOR_KEY = "triplets_per_anchor"
BUCKET_SIZE_KEY = "bucket_size"
SEED_KEY = "seed"
SPLITS_KEY = "splits"

STATISTICS_FILE = "triplets.json"
_SUMMED = ("triplets", "anchors", "anchors_without_positive")
_MINIMUM = {TRIPLETS_PER_ANCHOR_KEY: 1, BUCKET_SIZE_KEY: 2}


def check_minimum(key: str, value: int) -> None:
    """Checks `triplets_per_anchor` or `bucket_size`.

    Raises:
        ValueError: If the value is too small.
    """
    if value < _MINIMUM[key]:
        raise ValueError(
            f"TripletGen: {key} is {value}, but must be an integer of at least {_MINIMUM[key]}."
        )


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
            input_dict: `examples`, one or more Examples artifacts with all splits asked for.
            output_dict: `triplets`, one Examples artifact, see the component.
            exec_properties: `triplets_per_anchor`, `bucket_size`, `seed`, and `splits` in JSON.

        Raises:
            ValueError: If a setting is out of range, or triplets cannot be made of a split: it
                is not in the input or has no examples, features are absent, files cannot be
                read, ids are not unique, there is one class only, or no class has two examples.
            RuntimeError: If the files changed while they were read.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        splits = json.loads(exec_properties[SPLITS_KEY])
        check_splits(splits)
        for key in _MINIMUM:
            check_minimum(key, exec_properties[key])
        settings = Settings(
            exec_properties[TRIPLETS_PER_ANCHOR_KEY],
            exec_properties[BUCKET_SIZE_KEY],
            exec_properties[SEED_KEY],
        )
        examples = input_dict[EXAMPLES_KEY]
        files = [(split, path) for split in splits for path in _files(examples, split)]

        output = artifact_utils.get_single_instance(output_dict[TRIPLETS_KEY])
        output.split_names = artifact_utils.encode_split_names(splits)
        examples_utils.set_payload_format(output, example_gen_pb2.FORMAT_TF_EXAMPLE)
        split_dirs = {s: artifact_utils.get_split_uri([output], s) for s in splits}
        # Beside the splits, where no pattern Split-*/* finds a file that is not finished.
        temp_dir = f"{output.uri}/.tmp"
        for folder in (temp_dir, *split_dirs.values()):
            _remove(folder)  # of an earlier attempt at this artifact
            tf.io.gfile.makedirs(folder)
        try:
            with self._make_beam_pipeline() as pipeline:
                make_triplets(pipeline, files, settings, split_dirs, temp_dir)
            with tf.io.gfile.GFile(f"{temp_dir}/{SUMMARY_FILE}") as file:
                summary = json.load(file)
        finally:
            _remove(temp_dir)

        for split in splits:
            _check(split, examples, summary["splits"][split], settings)
        _publish(output, summary)
        for split, folder in split_dirs.items():
            write_gallery(tf.io.gfile.glob(f"{folder}/*"), f"{output.uri}/gallery-{split}.png")


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
        raise ValueError(_problem(split, examples, InputStats().problem()))
    return files


def _remove(folder: str) -> None:
    if tf.io.gfile.isdir(folder):
        tf.io.gfile.rmtree(folder)


def _problem(split: str, examples: list[types.Artifact], what: str) -> str:
    uris = ", ".join(artifact_utils.get_split_uri([artifact], split) for artifact in examples)
    return f"TripletGen: no triplets can be made of split {split!r} ({uris}): {what}"


def _check(
    split: str, examples: list[types.Artifact], counts: dict[str, Any], settings: Settings
) -> None:
    """Raises what is wrong with the data of a split, if anything."""
    if counts["problem"]:
        raise ValueError(_problem(split, examples, counts["problem"]))
    if counts["duplicates"]:
        raise ValueError(
            _problem(
                split,
                examples,
                f"ids are not unique ({counts['duplicates']} repeated, such as "
                f"{counts['duplicate']!r}). An example with its own copy as positive teaches "
                "nothing; remove the copies or give each image its own id.",
            )
        )
    anchors = counts["examples"] - counts["anchors_without_positive"]
    triplets = settings.triplets_per_anchor * anchors
    if counts["triplets"] != triplets:
        raise RuntimeError(
            f"TripletGen: split {split!r} should give {triplets} triplets but gave "
            f"{counts['triplets']}. Its files changed while they were read; run again."
        )


def _publish(output: types.Artifact, summary: dict[str, Any]) -> None:
    """Sets the custom properties and writes them to a file of the artifact too."""
    splits = summary["splits"].items()
    properties = {name: sum(counts[name] for _, counts in splits) for name in _SUMMED}
    properties["classes"] = summary["classes"]
    for split, counts in splits:
        properties |= {f"{split}_{name}": counts[name] for name in (*_SUMMED, "classes")}
    for name, value in properties.items():
        output.set_int_custom_property(name, value)
    for split, counts in splits:
        properties[f"{split}_class_sizes"] = counts["class_sizes"]
        output.set_string_custom_property(f"{split}_class_sizes", json.dumps(counts["class_sizes"]))
    with tf.io.gfile.GFile(f"{output.uri}/{STATISTICS_FILE}", "w") as file:
        json.dump(properties, file, indent=2)
    logging.info("TripletGen: %s", properties)
