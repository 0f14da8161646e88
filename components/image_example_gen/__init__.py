"""ImageExampleGen: image files in class folders become examples of the data contract."""

from components.image_example_gen.component import ImageExampleGen
from components.image_example_gen.splits import given_splits, hash_split

__all__ = ["ImageExampleGen", "given_splits", "hash_split"]
