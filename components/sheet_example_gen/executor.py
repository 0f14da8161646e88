"""The executor of SheetExampleGen: checks the sheets, then reads the images that they name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

from components.image_example_gen import MAX_PIXELS, Executor as ImageExecutor, read_options
from components.sheet_example_gen.checking import check_sheets
from components.sheet_example_gen.reading import ReadSheets
from components.sheet_example_gen.tables import list_sheets
from modules.runtime import work_done

# Keys of the options in the execution property `custom_config`, beside those of ImageExampleGen.
FORMAT = "format"
BY_COLUMN = "by_column"


class Executor(ImageExecutor):
    """Writes the examples, and judges and reports as ImageExampleGen does.

    Attributes:
        LABELLED: Whether each row must have a label.
    """

    LABELLED = True

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Checks the sheets, then does as ImageExampleGen.

        Args:
            input_dict: Empty.
            output_dict: `examples`, one artifact.
            exec_properties: Those of FileBasedExampleGen; `custom_config` holds the options.

        Raises:
            SheetError: Something in a sheet is wrong.
            ValueError: There is no sheet or no row, or as ImageExampleGen.
        """
        options = read_options(exec_properties)
        base = exec_properties[standard_component_specs.INPUT_BASE_KEY]
        patterns = [split.pattern for split in _input_config(exec_properties).splits]
        sheets = [sheet for pattern in patterns for sheet in list_sheets(base, pattern)]
        if not sheets:
            raise ValueError(
                f"No sheet in {base} with the pattern {', '.join(map(repr, patterns))}. Correct "
                f"{self.TABLE} path or the pattern."
            )
        rows = check_sheets(
            sheets, options[FORMAT], base, _splits(exec_properties), labelled=self.LABELLED
        ).total()
        if not rows:
            raise ValueError(f"There is no row in {', '.join(sheets)}. Add images.")
        work_done.expect("files", rows)
        super().Do(input_dict, output_dict, exec_properties)

    def GetInputSourceToExamplePTransform(  # noqa: N802 — TFX's name
        self,
    ) -> Callable[[dict[str, Any], str], beam.PTransform]:
        """Returns what TFX calls with the execution properties and each input pattern."""
        return lambda exec_properties, pattern: self.corrected(
            ReadSheets(
                exec_properties[standard_component_specs.INPUT_BASE_KEY],
                pattern,
                read_options(exec_properties)[FORMAT],
                int(read_options(exec_properties)[MAX_PIXELS]),
                _splits(exec_properties),
                self._others,
                labelled=self.LABELLED,
            )
        )

    def read_splits(
        self, pipeline: beam.Pipeline, exec_properties: dict[str, Any]
    ) -> dict[str, beam.PCollection]:
        """Reads the examples by split, which the column `split` may say."""
        if not _splits(exec_properties):
            return super().read_splits(pipeline, exec_properties)
        (split,) = _input_config(exec_properties).splits
        read = self.GetInputSourceToExamplePTransform()(exec_properties, split.pattern)
        return pipeline | "ReadSheets" >> read


def _input_config(exec_properties: dict[str, Any]) -> example_gen_pb2.Input:
    config = example_gen_pb2.Input()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.INPUT_CONFIG_KEY], config)
    return config


def _splits(exec_properties: dict[str, Any]) -> list[str]:
    """What the column `split` may say; nothing if it is not read."""
    if not read_options(exec_properties)[BY_COLUMN]:
        return []
    config = example_gen_pb2.Output()
    proto_utils.json_to_proto(exec_properties[standard_component_specs.OUTPUT_CONFIG_KEY], config)
    return [split.name for split in config.split_config.splits]
