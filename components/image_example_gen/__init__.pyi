from .component import ImageExampleGen as ImageExampleGen
from .splits import given_splits as given_splits, hash_split as hash_split
