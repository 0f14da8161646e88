"""The executor of ImageExampleGen: reads the images, reports on them and judges the outcome."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import apache_beam as beam
from absl import logging
from google.protobuf import struct_pb2
from tfx import types
from tfx.components.example_gen import base_example_gen_executor
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import proto_utils

from components.image_example_gen.class_names import find_similar
from components.image_example_gen.corrections import (
    Correct,
    Correction,
    count_corrections,
    read_corrections,
)
from components.image_example_gen.distractors import missing_labels, set_apart
from components.image_example_gen.limits import DISTRACTOR_LABELS, MAX_PIXELS, MAX_UNDECODABLE
from components.image_example_gen.reading import CONVERTED, IGNORED, UNDECODABLE, ReadImages
from components.spans import corrections_path
from modules.contract import DISTRACTORS
from modules.runtime import shown
from modules.storage import read_file, write_file

# Files in the root of the artifact `examples`.
UNDECODABLE_FILE = "undecodable.txt"
COUNTS_FILE = "counts.json"

_SHOWN = 10  # undecodable files named in a message


def _write_report(
    uri: str,
    images: Mapping[str, int],
    ignored: Mapping[str, int],
    converted: Mapping[str, int],
    undecodable: list[tuple[str, str]],
    similar_classes: list[list[str]],
    distractors: Mapping[str, int],
    applied: list[tuple[bytes, str]],
    corrections: Mapping[bytes, Correction],
) -> None:
    undecodable = sorted(undecodable)
    lines = "".join(f"{path}\t{reason}\n" for path, reason in undecodable)
    write_file(f"{uri}/{UNDECODABLE_FILE}", lines.encode())
    counts = {
        "images": images,
        "ignored": ignored,
        "converted": converted,
        "similar_classes": sorted(similar_classes),
        "distractors": distractors,
        "corrections": count_corrections(applied, corrections),
        "undecodable": len(undecodable),
        "first_undecodable": [f"{path}: {reason}" for path, reason in undecodable[:_SHOWN]],
    }
    # Beam gives the counts of a mapping in any order.
    write_file(f"{uri}/{COUNTS_FILE}", json.dumps(counts, sort_keys=True).encode())


def read_options(exec_properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Reads the options out of the execution property `custom_config`."""
    custom_config = example_gen_pb2.CustomConfig()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY], custom_config
    )
    options = struct_pb2.Struct()
    custom_config.custom_config.Unpack(options)
    return options


def _distractor_labels(exec_properties: Mapping[str, Any]) -> list[str]:
    options = read_options(exec_properties)
    return list(options[DISTRACTOR_LABELS]) if DISTRACTOR_LABELS in options else []


class Executor(base_example_gen_executor.BaseExampleGenExecutor):
    """Writes the examples, then fails the node when too few images could be used.

    Source: `tfx.components.example_gen.base_example_gen_executor.BaseExampleGenExecutor`.
    """

    READ: Callable[..., beam.PTransform] = ReadImages  # of the arguments of `ReadImages`
    EXPECTED = (
        "Expected folders of classes that hold files ending in .jpg, .jpeg, .png, .webp, .bmp, "
        ".gif, .pgm or .ppm"
    )
    TABLE = "[data]"  # of the configuration, for messages

    def GetInputSourceToExamplePTransform(  # noqa: N802 — TFX's name
        self,
    ) -> Callable[[dict[str, Any], str], beam.PTransform]:
        """Returns what TFX calls with the execution properties and each input pattern."""
        return lambda exec_properties, pattern: self.corrected(
            type(self).READ(
                exec_properties[standard_component_specs.INPUT_BASE_KEY],
                pattern,
                int(read_options(exec_properties)[MAX_PIXELS]),
                self._others,
            )
        )

    def corrected(self, read: beam.PTransform) -> beam.PTransform:
        """The examples as they are read, with the corrections; before they are split."""
        if not self._corrections:
            return read
        return _Then(read, Correct(self._corrections, self._applied))

    def GenerateExamplesByBeam(  # noqa: N802 — TFX's name
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Builds the splits of TFX, and beside them the report of what was read."""
        self._others: list[Any] = []  # outputs by tag
        path = corrections_path(exec_properties)
        self._corrections = read_corrections(path) if path else {}
        self._applied: list[beam.PCollection] = []
        splits, distractors = set_apart(
            self.read_splits(pipeline, exec_properties), _distractor_labels(exec_properties)
        )
        # TFX knows none that neither input nor output configuration names.
        self._examples.split_names = artifact_utils.encode_split_names(list(splits))
        images = [
            split
            | f"Count[{name}]" >> beam.combiners.Count.Globally()
            | f"Name[{name}]" >> beam.Map(lambda count, name=name: (name, count))
            for name, split in splits.items()
            if name != DISTRACTORS
        ]
        ignored, converted = (
            [outputs[tag] for outputs in self._others]
            | f"Flatten[{tag}]" >> beam.Flatten(pipeline=pipeline)
            | f"Count[{tag}]" >> beam.combiners.Count.PerElement()
            for tag in (IGNORED, CONVERTED)
        )
        similar = (
            list(splits.values())
            | "Flatten[images]" >> beam.Flatten(pipeline=pipeline)
            | "SimilarClasses" >> find_similar()
        )
        undecodable = [outputs[UNDECODABLE] for outputs in self._others] | "Undecodable" >> (
            beam.Flatten(pipeline=pipeline)
        )
        applied = self._applied | "Applied" >> beam.Flatten(pipeline=pipeline)
        _ = (
            pipeline
            | "Artifact" >> beam.Create([self._examples.uri])
            | "Report"
            >> beam.Map(
                _write_report,
                beam.pvalue.AsDict(images | "Images" >> beam.Flatten(pipeline=pipeline)),
                beam.pvalue.AsDict(ignored),
                beam.pvalue.AsDict(converted),
                beam.pvalue.AsList(undecodable),
                beam.pvalue.AsList(similar),
                {} if distractors is None else beam.pvalue.AsDict(distractors),
                beam.pvalue.AsList(applied),
                self._corrections,
            )
        )
        return splits

    def read_splits(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Reads the examples by split, as TFX makes the splits."""
        return super().GenerateExamplesByBeam(pipeline, exec_properties)

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the splits, notes the counts and judges them.

        Args:
            input_dict: Empty.
            output_dict: `examples`, one artifact.
            exec_properties: Those of FileBasedExampleGen; `custom_config` holds the options.

        Raises:
            ValueError: No image was found, a split or a label of distractors got none, or more than
                the allowed share of the images cannot be decoded.
        """
        examples = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.EXAMPLES_KEY]
        )
        self._examples = examples
        super().Do(input_dict, output_dict, exec_properties)
        counts = json.loads(read_file(f"{examples.uri}/{COUNTS_FILE}"))
        images, ignored = sum(counts["images"].values()), sum(counts["ignored"].values())
        examples.set_int_custom_property("images", images)
        examples.set_int_custom_property("undecodable", counts["undecodable"])
        examples.set_int_custom_property("ignored_files", ignored)
        examples.set_int_custom_property("converted", sum(counts["converted"].values()))
        examples.set_int_custom_property("similar_classes", len(counts["similar_classes"]))
        if _distractor_labels(exec_properties):
            found = sum(counts["distractors"].values())
            examples.set_int_custom_property(DISTRACTORS, found)
            logging.info("%d distractors besides the images.", found)
        if corrections_path(exec_properties):
            _publish_corrections(examples, counts["corrections"])
        logging.info("%d images, %s ignored files by suffix.", images, counts["ignored"])
        if counts["converted"]:
            logging.warning(
                "Images that the served model cannot decode became PNG files: %s, by suffix. "
                "Whoever sends such files to the model must convert them too.",
                counts["converted"],
            )
        if counts["similar_classes"]:
            logging.warning(
                "%d times classes differ only by case or by the normal form of Unicode, such as "
                "%s. They are different classes; rename the folders if they should be one.",
                len(counts["similar_classes"]),
                " and ".join(counts["similar_classes"][0]),
            )
        _judge(counts, exec_properties, self.EXPECTED)


class _Then(beam.PTransform):
    """One transform after the other."""

    def __init__(self, first: beam.PTransform, second: beam.PTransform) -> None:
        super().__init__()
        self._first, self._second = first, second

    def expand(self, pipeline: beam.Pipeline) -> Any:
        return pipeline | "Read" >> self._first | "Corrections" >> self._second


def _publish_corrections(examples: types.Artifact, counts: Mapping[str, Any]) -> None:
    for name in ("dropped", "relabelled"):
        examples.set_int_custom_property(name, counts[name])
    examples.set_int_custom_property("unknown_corrections", counts["unknown"])
    logging.info("Corrections: %d dropped, %d relabelled.", counts["dropped"], counts["relabelled"])
    if counts["unknown"]:
        logging.warning(
            "Corrections: no image has %d of the ids, such as %s. Correct or remove these lines, "
            "unless they are of another span.",
            counts["unknown"],
            ", ".join(counts["first_unknown"]),
        )


def _judge(counts: Mapping[str, Any], exec_properties: Mapping[str, Any], expected: str) -> None:
    input_base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
    input_config = example_gen_pb2.Input()
    proto_utils.json_to_proto(
        exec_properties[standard_component_specs.INPUT_CONFIG_KEY], input_config
    )
    patterns = ", ".join(f"{split.name}: {split.pattern!r}" for split in input_config.splits)
    undecodable = counts["undecodable"]
    total = sum(counts["images"].values()) + sum(counts["distractors"].values()) + undecodable
    if not total:
        raise ValueError(
            f"No image in {shown(input_base)} with the pattern {patterns}; other files ignored, "
            f"by suffix: {counts['ignored']}. {expected}; correct input_base or the pattern."
        )
    listed = "\n  ".join(counts["first_undecodable"])
    if undecodable:
        logging.warning("%d of %d images are undecodable:\n  %s", undecodable, total, listed)
    limit = read_options(exec_properties)[MAX_UNDECODABLE]
    if undecodable / total > limit:
        raise ValueError(
            f"{undecodable} of {total} images ({undecodable / total:.2%}) in {input_base} cannot "
            f"be decoded, more than {MAX_UNDECODABLE} = {limit:.2%} allows. The first:\n  "
            f"{listed}\nRepair or remove these files, or raise {MAX_UNDECODABLE}."
        )
    if text := missing_labels(_distractor_labels(exec_properties), counts["distractors"]):
        raise ValueError(f"{text} Looked in {shown(input_base)} with the pattern {patterns}.")
    for name, count in counts["images"].items():
        if not count:
            raise ValueError(
                f"The split {name!r} has no image; there are {counts['images']} in {input_base} "
                f"with the pattern {patterns}; other files ignored, by suffix: "
                f"{counts['ignored']}. Correct the pattern, or, if the split is made by hash, its "
                "share: by label, few classes can all fall on one side."
            )
