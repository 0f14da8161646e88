"""The node ImageExampleGen."""

from __future__ import annotations

from collections.abc import Sequence

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.image_example_gen import driver, executor
from components.image_example_gen.limits import check_limits
from components.image_example_gen.splits import given_splits, hash_split
from components.spans import LateSpans


class ImageExampleGen(FileBasedExampleGen):
    """Reads image files in class folders into examples of the data contract.

    `input_base/<class>/<file>` becomes the features `image` (the bytes of the file),
    `label` (`<class>`) and `id` (the path below `input_base`). Files ending in .jpg, .jpeg, .png,
    .webp, .bmp, .gif, .pgm or .ppm, in any case, are read; all others and hidden ones are ignored
    and counted.
    Each image is decoded once, as Transform will: what cannot be decoded is dropped and reported in
    `undecodable.txt` of the artifact, and too many of them fail the node. What the served model
    could not decode becomes a PNG, see `check_image`.

    The output `examples` carries the custom properties `images`, `undecodable`, `ignored_files`,
    `converted` and `similar_classes` (groups of classes that differ only by case or normal form),
    and with distractors, which are not counted among the images, `distractors`; with corrections
    `dropped`, `relabelled` and `unknown_corrections`, of which no image has the id.
    Unlike the other file-based ExampleGens, a renamed file or class folder is new data to the
    cache: the name is the label.

    Source: `tfx.components.example_gen.component.FileBasedExampleGen`.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)
    DRIVER_CLASS = driver.Driver

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
            input_base: Root folder of the images.
            input_config: Splits by pattern, see `given_splits`; default: all of `*/*`.
            output_config: How a single input is divided, see `hash_split`; default: a fifth of
                the images is `eval`. Must be left out when `input_config` names several splits.
            range_config: Which spans to read when the patterns hold `{SPAN}` or a date.
            max_undecodable_fraction: Largest share, in [0, 1], of image files that may be
                dropped; one file more fails the node.
            max_pixels: Largest width × height. An image that declares more is undecodable, and
                is never decoded.
            distractors: Class folders of images that no query looks for; these go into a split
                `distractors` of the output, wherever they are.
            corrections: File of images to drop or to relabel, see
                `components.image_example_gen.corrections`. Its content is part of the cache's key.
            late_spans: What to do with a span that arrives after a later one was read, see
                `components.spans.SpanInputProcessor`.

        Raises:
            ValueError: A setting out of range, or a pattern without a class folder.
        """
        input_config = input_config or given_splits({"images": "*/*"})
        for split in input_config.splits:
            if "/" not in split.pattern:
                raise ValueError(
                    f"The pattern {split.pattern!r} of the split {split.name!r} has no class "
                    "folder, expected one such as '*/*' (<class>/<file>)."
                )
        if output_config is None and len(input_config.splits) == 1:
            output_config = hash_split(0.2, by="id")

        super().__init__(
            input_base=input_base,
            input_config=input_config,
            output_config=output_config,
            custom_config=check_limits(
                max_undecodable_fraction, max_pixels, distractors, corrections, late_spans
            ),
            range_config=range_config,
        )
