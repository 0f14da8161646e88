"""The executor of Transform."""

from __future__ import annotations

from typing import Any

from absl import logging
from tfx import types
from tfx.components.transform import executor as tfx_executor
from tfx.types import artifact_utils, standard_component_specs
from tfx.utils import json_utils

from components.transform.image_choice import choose_image, read_typical_image
from modules.images import note_image
from modules.settings import ImageLimits, ImageSettings, ImageTable, check_settings, read_table

IMAGE_TABLE, LIMITS_TABLE, MAX_PIXELS = "image", "image_limits", "max_pixels"
# Custom properties of the transform graph.
HEIGHT, WIDTH, CHANNELS, CHOSEN = "image_height", "image_width", "image_channels", "image_chosen"
FIT = "image_fit"


class Executor(tfx_executor.Executor):
    """TFX's executor, after the table `image` of `custom_config` was completed.

    Source: `tfx.components.transform.executor.Executor`.
    """

    def Do(  # noqa: N802 — TFX's name
        self,
        input_dict: dict[str, list[types.Artifact]],
        output_dict: dict[str, list[types.Artifact]],
        exec_properties: dict[str, Any],
    ) -> None:
        """Chooses what is missing in the table `image`, and lets TFX do the rest.

        Args:
            input_dict: `examples`, `schema`, and `statistics` where something is to be chosen.
            output_dict: TFX's. `transform_graph` gets the custom properties `image_height`,
                `image_width`, `image_channels`, `image_fit`, and `image_chosen`: which of
                `height`, `width`, `channels` were not given, with commas, or an empty text. Beside
                the graph lies what it was built with, see `modules.images.transformed_image`.
            exec_properties: TFX's. `custom_config` has the table `image`, `image_limits` where
                something is to be chosen, and the number `max_pixels`; `preprocessing_fn` sees
                the first, complete.

        Raises:
            ValueError: A table is missing or wrong, or there are no statistics to choose by.
        """
        custom_config = json_utils.loads(
            exec_properties[standard_component_specs.CUSTOM_CONFIG_KEY]
        )
        table = read_table(custom_config, IMAGE_TABLE, ImageTable)
        image = _complete(table, custom_config, input_dict)
        # Checked again: a number from a configuration.
        limit = {MAX_PIXELS: custom_config.pop(MAX_PIXELS)}
        image = check_settings(ImageSettings, image.model_dump() | limit, IMAGE_TABLE)
        custom_config[IMAGE_TABLE] = image.model_dump(mode="json")
        graph = artifact_utils.get_single_instance(
            output_dict[standard_component_specs.TRANSFORM_GRAPH_KEY]
        )
        graph.set_int_custom_property(HEIGHT, image.height)
        graph.set_int_custom_property(WIDTH, image.width)
        graph.set_int_custom_property(CHANNELS, image.channels)
        graph.set_string_custom_property(FIT, image.fit)
        graph.set_string_custom_property(CHOSEN, ",".join(table.missing))
        logging.info(
            "Transform: images of %d × %d pixels (height × width), channels: %d; chosen: %s",
            image.height, image.width, image.channels, ", ".join(table.missing) or "none of it",
        )  # fmt: skip
        super().Do(
            input_dict,
            output_dict,
            {
                **exec_properties,
                standard_component_specs.CUSTOM_CONFIG_KEY: json_utils.dumps(custom_config),
            },
        )
        note_image(graph.uri, image)


def _complete(
    table: ImageTable,
    custom_config: dict[str, Any],
    input_dict: dict[str, list[types.Artifact]],
) -> ImageSettings:
    if not table.missing:
        return check_settings(ImageSettings, table.model_dump(), IMAGE_TABLE)
    statistics = input_dict.get(standard_component_specs.STATISTICS_KEY)
    if not statistics:
        raise ValueError(
            f"{', '.join(table.missing)} of [image] can only be chosen by statistics, and this "
            "node has none. Give it the input statistics, or set these keys."
        )
    limits = read_table(custom_config, LIMITS_TABLE, ImageLimits)
    return choose_image(
        table, read_typical_image(artifact_utils.get_single_instance(statistics)), limits
    )
