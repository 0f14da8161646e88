"""The nodes that read a gallery of its own; a pipeline has at most one of them."""

from __future__ import annotations

from tfx.components.example_gen.component import FileBasedExampleGen
from tfx.dsl.components.base import executor_spec
from tfx.proto import example_gen_pb2

from components.gallery_example_gen import executor
from components.image_example_gen import Driver as ImageDriver, check_limits, given_splits
from components.sheet_example_gen import BY_COLUMN, FORMAT, Driver as SheetDriver, Format
from components.spans import ANY_DEPTH
from modules.contract import GALLERY


class ImageGalleryGen(FileBasedExampleGen):
    """Reads image files into examples of a split `gallery`, for IndexGen alone.

    A file at any depth below `input_base` becomes the features `image`, `id` (its path below
    `input_base`) and `label`: the name of the folder that it lies in, empty for a file in
    `input_base` itself. What is read, checked, converted and reported is as by ImageExampleGen, and
    so are the driver's fingerprint and the custom properties of the output `examples`.

    It is no ImageExampleGen by its type: what is resolved among all examples, such as a window,
    takes those of one type.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.ImageGalleryExecutor)
    DRIVER_CLASS = ImageDriver

    def __init__(
        self,
        input_base: str,
        max_undecodable_fraction: float = 0.01,
        max_pixels: int = 50_000_000,
    ) -> None:
        """Configures the node.

        Args:
            input_base: Root folder of the images.
            max_undecodable_fraction: Largest share, in [0, 1], of image files that may be dropped.
            max_pixels: Largest width × height.
        """
        super().__init__(
            input_base=input_base,
            input_config=given_splits({GALLERY: ANY_DEPTH}),
            output_config=_one_split(),
            custom_config=check_limits(max_undecodable_fraction, max_pixels),
        )


class SheetGalleryGen(FileBasedExampleGen):
    """Reads the images that sheets name into examples of a split `gallery`, for IndexGen alone.

    As SheetExampleGen reads them, but for labels: the column, or its cell, may be missing, and the
    label is empty then. The column `split` is not read.
    """

    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.SheetGalleryExecutor)
    DRIVER_CLASS = SheetDriver

    def __init__(
        self,
        input_base: str,
        format: Format,
        max_undecodable_fraction: float = 0.01,
        max_pixels: int = 50_000_000,
    ) -> None:
        """Configures the node.

        Args:
            input_base: Folder of the sheets.
            format: `csv` or `parquet`, also the ending of the sheets.
            max_undecodable_fraction: Largest share, in [0, 1], of images that may be dropped.
            max_pixels: Largest width × height of a file.
        """
        super().__init__(
            input_base=input_base,
            input_config=given_splits({GALLERY: f"*.{format}"}),
            output_config=_one_split(),
            custom_config=check_limits(
                max_undecodable_fraction,
                max_pixels,
                (),
                None,
                "warn",
                **{FORMAT: format, BY_COLUMN: False},
            ),
        )


def _one_split() -> example_gen_pb2.Output:
    """All of the input; TFX would make a train and an eval split of it."""
    split = example_gen_pb2.SplitConfig.Split(name=GALLERY, hash_buckets=1)
    return example_gen_pb2.Output(split_config=example_gen_pb2.SplitConfig(splits=[split]))
