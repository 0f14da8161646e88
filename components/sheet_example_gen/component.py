"""The node SheetExampleGen."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.image_example_gen import check_limits, given_splits
from components.sheet_example_gen import driver, executor
from components.sheet_example_gen.tables import Format
from components.spans import LateSpans


class SheetExampleGen(FileBasedExampleGen):
    """Reads the images that sheets name into examples of the data contract.

    A sheet has a row for each image: `components.sheet_example_gen.rows` lists the columns. What
    is wrong in a sheet fails the node before any image is read, with sheet, line and column. An
    image without a box is stored byte for byte as its file is, a box as a PNG. Images are checked
    and reported as by ImageExampleGen, a path that does not exist like a file that cannot be
    decoded.

    The output `examples` has the further columns as features, and ImageExampleGen's custom
    properties.

    Source: `tfx.components.example_gen.component.FileBasedExampleGen`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.Driver

    def __init__(
        self,
        input_base: str,
        format: Format,
        input_config: example_gen_pb2.Input | None = None,
        output_config: example_gen_pb2.Output | None = None,
        range_config: range_config_pb2.RangeConfig | None = None,
        max_undecodable_fraction: float = 0.01,
        max_pixels: int = 50_000_000,
        distractors: Sequence[str] = (),
        corrections: str | None = None,
        late_spans: LateSpans = "warn",
    ) -> None:
        """Configures the node.

        Args:
            input_base: Folder of the sheets.
            format: `csv` or `parquet`.
            input_config: Splits by pattern, see `given_splits`; default: all of `*.csv` or
                `*.parquet`.
            output_config: How a single input is divided, see `hash_split`; default: into `train`
                and `eval` by the column `split`. Must be left out when `input_config` names
                several splits.
            range_config: Which spans to read when the patterns hold `{SPAN}` or a date.
            max_undecodable_fraction: Largest share, in [0, 1], of images that may be dropped.
            max_pixels: Largest width × height of a file.
            distractors: Labels of images that no query looks for, see `ImageExampleGen`.
            corrections: File of images to drop or to relabel, see
                `components.image_example_gen.corrections`.
            late_spans: What to do with a span that arrives after a later one was read, see
                `components.spans.SpanInputProcessor`.
        """
        input_config = input_config or given_splits({"all": f"*.{format}"})
        by_column = output_config is None and len(input_config.splits) == 1
        if by_column:
            split = example_gen_pb2.SplitConfig.Split
            output_config = example_gen_pb2.Output(
                split_config=example_gen_pb2.SplitConfig(
                    splits=[split(name=name, hash_buckets=1) for name in ("train", "eval")]
                )
            )
        super().__init__(
            input_base=input_base,
            input_config=input_config,
            output_config=output_config,
            custom_config=check_limits(
                max_undecodable_fraction,
                max_pixels,
                distractors,
                corrections,
                late_spans,
                **{executor.FORMAT: format, executor.BY_COLUMN: by_column},
            ),
            range_config=range_config,
        )
