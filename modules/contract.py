"""The data contract: what a labelled image looks like as a tf.Example, in every node.

| feature | type  | meaning                                                          |
|---------|-------|------------------------------------------------------------------|
| `image` | bytes | the encoded PNG or JPEG, untouched                               |
| `label` | bytes | the class name (never an integer: unseen classes stay themselves) |
| `id`    | bytes | stable and unique, such as the relative path of the file          |

A triplet is a tf.Example with the three features of each of its roles: `anchor/image`,
`anchor/label`, `anchor/id`, `positive/image`, … , `negative/id`.
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


def make_example(image: bytes, label: bytes, example_id: bytes) -> tf.train.Example:
    """Builds one labelled image of the contract.

    Args:
        image: Encoded PNG or JPEG.
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
