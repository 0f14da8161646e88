from .component import ImageExampleGen as ImageExampleGen
from .executor import (
    MAX_PIXELS as MAX_PIXELS,
    MAX_UNDECODABLE as MAX_UNDECODABLE,
    Executor as Executor,
    read_options as read_options,
)
from .reading import IGNORED as IGNORED, UNDECODABLE as UNDECODABLE, find_fault as find_fault
from .splits import given_splits as given_splits, hash_split as hash_split
