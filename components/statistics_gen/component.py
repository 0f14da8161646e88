"""The node StatisticsGen."""

from __future__ import annotations

import tensorflow_data_validation as tfdv
from tfx.components import StatisticsGen as TfxStatisticsGen
from tfx.dsl.components.base import executor_spec
from tfx.types import BaseChannel

from components.statistics_gen import executor


class StatisticsGen(TfxStatisticsGen):
    """Computes statistics of the examples and of numeric features derived from their images.

    The statistics of an encoded image say little: its size in bytes. So each image is decoded once
    and the features `image/brightness`, `image/contrast`, `image/width`, `image/height` and
    `image/channels` are added for the statistics only (see `image_features.measure`). The examples
    and what Transform parses stay as they are. Drift and skew of these are what ExampleValidator
    compares.

    Outputs and id are those of `tfx.components.StatisticsGen`. A schema goes into the options, not
    into an input of its own.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(
        self,
        examples: BaseChannel,
        stats_options: tfdv.StatsOptions | None = None,
        exclude_splits: list[str] | None = None,
        background: str = "white",
    ) -> None:
        """Configures the node.

        Args:
            examples: Examples of the contract.
            stats_options: How to compute the statistics, with the schema if there is one.
            exclude_splits: Names of splits to leave out.
            background: The colour behind transparent images, as in `[image]`.
        """
        super().__init__(
            examples=examples, stats_options=stats_options, exclude_splits=exclude_splits
        )
        self.exec_properties[executor.BACKGROUND] = background
