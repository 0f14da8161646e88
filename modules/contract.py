"""The data contract: what a labelled image looks like as a tf.Example, in every node.

| feature | type  | meaning                                                          |
|---------|-------|------------------------------------------------------------------|
| `image` | bytes | the encoded file, see `docs/images.md`                           |
| `label` | bytes | the class name (never an integer: unseen classes stay themselves) |
| `id`    | bytes | stable and unique, such as the relative path of the file          |

Besides there may be

| feature      | type  | meaning                                                       |
|--------------|-------|---------------------------------------------------------------|
| `is_query`   | int64 | not 0: the Evaluator scores it; without the feature all       |
| `is_gallery` | int64 | not 0: a query may find it; without the feature all           |
| any other    |       | bytes, int64 or float, such as a camera: to slice by, or to exclude |

Besides `train` and `eval` there may be the splits

| split         | what it holds                                                        |
|---------------|----------------------------------------------------------------------|
| `gallery`     | what the queries of `eval` search in, such as a catalogue            |
| `distractors` | images that no query looks for: they are in the gallery, and nowhere |
|               | else; their labels are no classes                                    |

TripletGen writes the first three features, and what makes it an anchor:

| feature     | type      | meaning                                                            |
|-------------|-----------|--------------------------------------------------------------------|
| `positives` | int64 [t] | record numbers, in the same file, of the positives of this anchor  |
| `negatives` | int64 [t] | of the negatives: the i-th triplet is (this record, `positives[i]`, |
|             |           | `negatives[i]`); t may be 0                                        |
| `copy`      | int64 [1] | 1 if the image has its own place in another file and is a negative |
|             |           | here, else 0                                                       |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded where it is needed: the command line reads names from here
    import tensorflow as tf

IMAGE = "image"
LABEL = "label"
ID = "id"
FEATURES = (IMAGE, LABEL, ID)
IS_QUERY = "is_query"
IS_GALLERY = "is_gallery"
ROLES = ("anchor", "positive", "negative")
POSITIVES = "positives"
NEGATIVES = "negatives"
COPY = "copy"
# Splits that only the Evaluator reads.
GALLERY = "gallery"
DISTRACTORS = "distractors"
# The part of the train split that the Trainer selects its weights on.
VALIDATION = "validation"


Value = bytes | int | float


def make_example(
    image: bytes, label: bytes, example_id: bytes, further: Mapping[str, Value] | None = None
) -> tf.train.Example:
    """Builds one labelled image of the contract.

    Args:
        image: Encoded, of a kind that `docs/images.md` names.
        label: Class name, UTF-8.
        example_id: Stable, unique identifier, UTF-8.
        further: Values of other features: bytes, int64 or float32.

    Returns:
        The tf.Example with exactly one value for each of the features.
    """
    import tensorflow as tf

    example = tf.train.Example()
    values = {IMAGE: image, LABEL: label, ID: example_id, **(further or {})}
    for name, value in values.items():
        feature = example.features.feature[name]
        if isinstance(value, bytes):
            feature.bytes_list.value.append(value)
        elif isinstance(value, int):
            feature.int64_list.value.append(value)
        else:
            feature.float_list.value.append(value)
    return example
