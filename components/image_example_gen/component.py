"""The node ImageExampleGen."""

from __future__ import annotations

from google.protobuf import struct_pb2
from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2, range_config_pb2

from components.image_example_gen import driver, executor
from components.image_example_gen.splits import given_splits, hash_split


class ImageExampleGen(FileBasedExampleGen):
    """Reads image files in class folders into examples of the data contract.

    `input_base/<class>/<file>` becomes the features `image` (the bytes of the file, untouched),
    `label` (`<class>`) and `id` (the path below `input_base`). Files ending in .jpg, .jpeg or .png,
    in any case, are read; all others and hidden ones are ignored and counted. Each image is decoded
    once, as Transform will: what cannot be decoded is dropped and reported in `undecodable.txt` of
    the artifact, and too many of them fail the node.

    The output `examples` carries the custom properties `images`, `undecodable` and `ignored_files`.
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

        Raises:
            ValueError: A setting out of range, or a pattern without a class folder.
        """
        if not 0 <= max_undecodable_fraction <= 1:
            raise ValueError(
                f"max_undecodable_fraction is {max_undecodable_fraction}, expected 0 to 1."
            )
        if max_pixels < 1:
            raise ValueError(f"max_pixels is {max_pixels}, expected at least 1.")
        input_config = input_config or given_splits({"images": "*/*"})
        for split in input_config.splits:
            if "/" not in split.pattern:
                raise ValueError(
                    f"The pattern {split.pattern!r} of the split {split.name!r} has no class "
                    "folder, expected one such as '*/*' (<class>/<file>)."
                )
        if output_config is None and len(input_config.splits) == 1:
            output_config = hash_split(0.2, by="id")

        options = struct_pb2.Struct()
        options.update(
            {executor.MAX_UNDECODABLE: max_undecodable_fraction, executor.MAX_PIXELS: max_pixels}
        )
        custom_config = example_gen_pb2.CustomConfig()
        custom_config.custom_config.Pack(options)
        super().__init__(
            input_base=input_base,
            input_config=input_config,
            output_config=output_config,
            custom_config=custom_config,
            range_config=range_config,
        )
