"""The data contract: what a labelled image looks like as a tf.Example, in every node.

| feature | type  | meaning                                                          |
|---------|-------|------------------------------------------------------------------|
| `image` | bytes | the encoded file, see `docs/images.md`                           |
| `label` | bytes | the class name (never an integer: unseen classes stay themselves) |
| `id`    | bytes | stable and unique, such as the relative path of the file          |

TripletGen writes the same, and what makes it an anchor:

| feature     | type      | meaning                                                            |
|-------------|-----------|--------------------------------------------------------------------|
| `positives` | int64 [t] | record numbers, in the same file, of the positives of this anchor  |
| `negatives` | int64 [t] | of the negatives: the i-th triplet is (this record, `positives[i]`, |
|             |           | `negatives[i]`); t may be 0                                        |
| `copy`      | int64 [1] | 1 if the image has its own place in another file and is a negative |
|             |           | here, else 0                                                       |
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # loaded where it is needed: the command line reads names from here
    import tensorflow as tf

IMAGE = "image"
LABEL = "label"
ID = "id"
FEATURES = (IMAGE, LABEL, ID)
ROLES = ("anchor", "positive", "negative")
POSITIVES = "positives"
NEGATIVES = "negatives"
COPY = "copy"
# The part of the train split that the Trainer selects its weights on.
VALIDATION = "validation"


def make_example(image: bytes, label: bytes, example_id: bytes) -> tf.train.Example:
    """Builds one labelled image of the contract.

    Args:
        image: Encoded, of a kind that `docs/images.md` names.
        label: Class name, UTF-8.
        example_id: Stable, unique identifier, UTF-8.

    Returns:
        The tf.Example with exactly one value for each of the three features.
    """
    import tensorflow as tf

    values = {IMAGE: image, LABEL: label, ID: example_id}
    return tf.train.Example(
        features=tf.train.Features(
            feature={
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                for name, value in values.items()
            }
        )
    )
