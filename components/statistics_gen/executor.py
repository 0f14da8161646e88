"""The executor of StatisticsGen."""

from __future__ import annotations

import os
from typing import Any

import apache_beam as beam
import pyarrow as pa
import tensorflow_data_validation as tfdv
from tfx import types
from tfx.components.example_gen.utils import SPAN_PROPERTY_NAME
from tfx.components.statistics_gen import executor as tfx_executor
from tfx.components.util import tfxio_utils
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.statistics_gen.image_features import add_image_features, mark_derived
from modules.settings import ImageTable, rgb

BACKGROUND = "background"


class Executor(tfx_executor.Executor):
    """TFX's executor with derived features of the images between reading and counting.

    Source: `tfx.components.statistics_gen.executor.Executor`, whose `Do` has no place to put them.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Writes the statistics of each split that is not excluded.

        Args:
            input_dict: `examples`, one artifact.
            output_dict: `statistics`, one artifact.
            exec_properties: `stats_options_json` and `exclude_splits`, both JSON; `background`, the
                colour behind transparent images.

        Raises:
            ValueError: The examples have a feature with the name of a derived one.
        """
        examples = artifact_utils.get_single_instance(
            input_dict[standard_component_specs.EXAMPLES_KEY]
        )
        statistics = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.STATISTICS_KEY]
        )
        excluded = json_utils.loads(exec_properties[standard_component_specs.EXCLUDE_SPLITS_KEY])
        splits = [
            split
            for split in artifact_utils.decode_split_names(examples.split_names)
            if split not in excluded
        ]
        statistics.split_names = artifact_utils.encode_split_names(splits)
        # ExampleGen's driver notes the span with a custom property. The typed one, which TFX's
        # executor copies, stays 0.
        statistics.span = examples.get_int_custom_property(SPAN_PROPERTY_NAME) or examples.span
        # Of an execution without this key: the default of the table [image].
        image = ImageTable(background=exec_properties.get(BACKGROUND) or ImageTable().background)
        options = exec_properties.get(standard_component_specs.STATS_OPTIONS_JSON_KEY)
        with self._make_beam_pipeline() as pipeline:
            for split in splits:
                source = tfxio_utils.get_split_tfxio([examples], split, ["StatisticsGen"])
                uri = artifact_utils.get_split_uri([statistics], split)
                _ = (
                    pipeline
                    | f"Read[{split}]" >> source.BeamSource()
                    | f"AddImageFeatures[{split}]"
                    >> beam.Map(add_image_features, rgb(image.background)).with_output_types(
                        pa.RecordBatch
                    )
                    | f"GenerateStatistics[{split}]"
                    >> tfdv.GenerateStatistics(
                        tfdv.StatsOptions.from_json(options) if options else tfdv.StatsOptions()
                    )
                    | f"MarkDerived[{split}]" >> beam.Map(mark_derived)
                    | f"Write[{split}]"
                    >> tfdv.WriteStatisticsToBinaryFile(
                        os.path.join(uri, tfx_executor.DEFAULT_FILE_NAME)  # noqa: PTH118 — URI
                    )
                )
