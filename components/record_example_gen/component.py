"""The node that reads TFRecords."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.image_example_gen import check_limits, given_splits
from components.record_example_gen import executor
from components.spans import LateSpans, SpanDriver


class RecordExampleGen(FileBasedExampleGen):
    """Reads TFRecord files of tf.Examples, one span after the other when the patterns hold spans.

    The files may be compressed by gzip, whatever they are called. Each image is checked, and
    dropped and reported or converted, as ImageExampleGen does (see `check_image`); a label or an id
    that is not UTF-8 counts as undecodable too. The examples are otherwise untouched. A file that
    cannot be read fails the node.

    Outputs are those of ImageExampleGen. The `id` of an example must be unique over all spans that
    are trained on together.

    Source: `tfx.components.ImportExampleGen`, whose executor checks nothing.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = SpanDriver

    def __init__(
        self,
        input_base: str,
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
            input_base: Root folder of the files.
            input_config: Splits by pattern, see `given_splits`; default: all of `*`.
            output_config: How a single input is divided, see `hash_split`; default: TFX's.
            range_config: Which spans to read when the patterns hold `{SPAN}` or a date.
            max_undecodable_fraction: Largest share, in [0, 1], of images that may be dropped.
            max_pixels: Largest width × height. An image that declares more is undecodable.
            distractors: Labels of images that no query looks for, see `ImageExampleGen`.
            corrections: File of images to drop or to relabel, see
                `components.image_example_gen.corrections`.
            late_spans: What to do with a span that arrives after a later one was read, see
                `components.spans.SpanInputProcessor`.

        Raises:
            ValueError: A setting out of range.
        """
        super().__init__(
            input_base=input_base,
            input_config=input_config or given_splits({"all": "*"}),
            output_config=output_config,
            custom_config=check_limits(
                max_undecodable_fraction, max_pixels, distractors, corrections, late_spans
            ),
            range_config=range_config,
        )
