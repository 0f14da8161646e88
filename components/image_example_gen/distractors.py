"""Distractors: images that no query looks for, set apart from those that have a class.

A label says that an image is one, so it is the same for class folders, sheets and TFRecords, and
for every way to make the splits. In a split of their own no node can take them for a class:
training, statistics and queries read other splits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import apache_beam as beam
import tensorflow as tf

from modules.contract import DISTRACTORS, LABEL


def set_apart(
    splits: Mapping[str, beam.PCollection], labels: Sequence[str]
) -> tuple[dict[str, beam.PCollection], beam.PCollection | None]:
    """Moves the distractors of all splits into the split `distractors`.

    Args:
        splits: PCollections of tf.Examples by name of the split.
        labels: Those of distractors; none: nothing is moved.

    Returns:
        The splits, with `distractors` if there are labels of them; and then how many examples each
        of these labels has, as pairs.
    """
    if not labels:
        return dict(splits), None
    wanted = frozenset(label.encode() for label in labels)
    result, moved = {}, []
    for name, examples in splits.items():
        result[name], apart = examples | f"SetApart[{name}]" >> beam.Partition(
            _is_distractor, 2, wanted
        )
        moved.append(apart)
    result[DISTRACTORS] = moved | "Distractors" >> beam.Flatten()
    counts = (
        result[DISTRACTORS]
        | "DistractorLabels" >> beam.Map(lambda example: _label(example).decode())
        | "CountDistractors" >> beam.combiners.Count.PerElement()
    )
    return result, counts


def _is_distractor(example: tf.train.Example, _: int, wanted: frozenset[bytes]) -> int:
    return int(_label(example) in wanted)


def _label(example: tf.train.Example) -> bytes:
    """The label; empty where there is none, which ExampleValidator will say."""
    features: Any = example.features.feature  # to ask for a name would make a feature of it
    values = features[LABEL].bytes_list.value if LABEL in features else []
    return values[0] if len(values) == 1 else b""


def missing_labels(labels: Sequence[str], counts: Mapping[str, int]) -> str | None:
    """Says which labels of distractors no image has; None if each has one."""
    missing = [label for label in labels if not counts.get(label)]
    if not missing:
        return None
    return (
        f"No image has the label {', '.join(map(repr, missing))}, which [data] distractors names. "
        "Correct the name, which is that of a class folder or a value of `label`, or remove it."
    )
