"""The executors of GalleryExampleGen: those of the other ExampleGens, which need no labels here."""

from __future__ import annotations

from components.image_example_gen import Executor
from components.sheet_example_gen import Executor as SheetExecutor


class ImageGalleryExecutor(Executor):
    """Reads image files at any depth below a folder."""

    EXPECTED = (
        "Expected files ending in .jpg, .jpeg, .png, .webp, .bmp, .gif, .pgm or .ppm at any depth"
    )
    TABLE = "[index]"


class SheetGalleryExecutor(SheetExecutor):
    """Reads the images that sheets name."""

    LABELLED = False
    TABLE = "[index]"
