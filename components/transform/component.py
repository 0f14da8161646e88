"""The node Transform."""

from __future__ import annotations

from typing import Any, ClassVar

from tfx.components import Transform as TfxTransform
from tfx.dsl.components.base import executor_spec
from tfx.types import (
    BaseChannel,
    Channel,
    component_spec,
    standard_artifacts,
    standard_component_specs,
)
from tfx.utils import json_utils

from components.transform import executor
from modules.settings import MAX_PIXELS, ImageLimits, ImageTable


class TransformSpec(standard_component_specs.TransformSpec):
    """TFX's specification, with statistics besides."""

    INPUTS: ClassVar = {
        **standard_component_specs.TransformSpec.INPUTS,
        standard_component_specs.STATISTICS_KEY: component_spec.ChannelParameter(
            type=standard_artifacts.ExampleStatistics, optional=True
        ),
    }


class Transform(TfxTransform):
    """Builds the transform graph, for images of the size that is given or that suits the data.

    TFX's node of that name (`tfx.components.Transform`): same id, same output `transform_graph`.
    What is new: a configuration is complete without the size of the images. What it does not say
    is chosen from the statistics of the train split when the node runs (see
    `image_choice.choose_image`), and noted on the transform graph.

    Nothing is materialised, and no statistics of the transformed pixels are made.
    """

    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: BaseChannel,
        schema: BaseChannel,
        preprocessing_fn: str,
        image: ImageTable,
        limits: ImageLimits,
        statistics: BaseChannel,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        """Configures the node.

        Args:
            examples: Examples of the contract; their train split is analysed.
            schema: Of the examples.
            preprocessing_fn: Import path of the function; it gets `{"image": {…}}`, complete, as
                `custom_config`.
            image: What is given of the size.
            limits: What the network can take.
            statistics: Of our StatisticsGen. Where nothing is to be chosen, the node reads neither
                these nor the limits, and so does not run again when they change.
            max_pixels: Largest width × height of a file; the graph refuses others.
        """
        custom_config: dict[str, Any] = {
            executor.IMAGE_TABLE: image.model_dump(mode="json"),
            executor.MAX_PIXELS: max_pixels,
        }
        if image.missing:
            custom_config[executor.LIMITS_TABLE] = limits.model_dump(mode="json")
        spec = TransformSpec(
            examples=examples,
            schema=schema,
            statistics=statistics if image.missing else None,
            preprocessing_fn=preprocessing_fn,
            custom_config=json_utils.dumps(custom_config),
            force_tf_compat_v1=0,
            disable_statistics=1,
            transform_graph=Channel(type=standard_artifacts.TransformGraph),
        )
        # Past TFX's own __init__, which would build TFX's specification.
        super(TfxTransform, self).__init__(spec=spec)
