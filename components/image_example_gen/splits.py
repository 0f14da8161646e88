"""How images are divided into `train` and `eval`, as ExampleGen configurations.

| wanted                                        | how                                           |
|-----------------------------------------------|-----------------------------------------------|
| the splits the folders already have           | `input_config=given_splits({...})`            |
| a random share of the images                  | `output_config=hash_split(0.1, by="id")`      |
| a random share of the classes, never in both  | `output_config=hash_split(0.1, by="label")`   |

The last two work for TFX's ImportExampleGen too. A hash depends on nothing but the value itself:
adding images never moves one that was there before to the other split.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from tfx.proto import example_gen_pb2

_BUCKETS = 1000


def given_splits(patterns: Mapping[str, str]) -> example_gen_pb2.Input:
    """Makes one split of each pattern.

    Args:
        patterns: Glob below the input folder by split name, such as
            `{"train": "train/*/*", "eval": "test/*/*"}`; for class folders the last two parts
            are the class and the file. `{SPAN}`, `{YYYY}-{MM}-{DD}` and `{VERSION}` are filled
            in by TFX.

    Returns:
        The `input_config` of ImageExampleGen or ImportExampleGen.
    """
    return example_gen_pb2.Input(
        splits=[
            example_gen_pb2.Input.Split(name=name, pattern=pattern)
            for name, pattern in patterns.items()
        ]
    )


def hash_split(eval_fraction: float, by: Literal["id", "label"] = "id") -> example_gen_pb2.Output:
    """Divides one input into `train` and `eval` by the SHA-256 of a feature.

    Args:
        eval_fraction: Expected share of the values of `by` that go to `eval`, rounded to
            thousandths.
        by: `id`: every image on its own. `label`: whole classes, so that no class is in both
            splits and retrieval is measured on classes never trained on.

    Returns:
        The `output_config` of ImageExampleGen or ImportExampleGen.

    Raises:
        ValueError: A fraction that leaves a split empty, or another feature.
    """
    evaluated = round(_BUCKETS * eval_fraction)
    if not 0 < evaluated < _BUCKETS:
        raise ValueError(f"eval_fraction is {eval_fraction}, expected 0.001 to 0.999.")
    if by not in ("id", "label"):
        raise ValueError(f"Cannot split by {by!r}, expected 'id' or 'label'.")
    split = example_gen_pb2.SplitConfig.Split
    return example_gen_pb2.Output(
        split_config=example_gen_pb2.SplitConfig(
            splits=[
                split(name="train", hash_buckets=_BUCKETS - evaluated),
                split(name="eval", hash_buckets=evaluated),
            ],
            partition_feature_name=by,
        )
    )
