"""A split by class: evaluation sees only classes that training has never seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from pipeline.datasets.labelled_images import LabelledImages


def split_by_class(
    splits: Mapping[str, LabelledImages], eval_classes: Collection[str]
) -> dict[str, LabelledImages]:
    """Splits labelled images anew, so that each class is wholly in one split.

    All images of both splits are used, as in the published benchmarks of deep metric learning
    (Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016).

    Args:
        splits: The images, by split; which split they were in does not matter.
        eval_classes: The classes of the new `eval`.

    Returns:
        `train` with the other classes, `eval` with these.

    Raises:
        ValueError: There is no such class, or fewer than two are left to train with.
    """
    labels = np.concatenate([split.labels for split in splits.values()])
    ids = np.concatenate([split.ids for split in splits.values()])
    images = np.concatenate([split.images for split in splits.values()])
    classes = sorted(set(labels.tolist()))
    if unknown := sorted(set(eval_classes) - set(classes)):
        raise ValueError(
            f"no class {', '.join(map(repr, unknown))}; there are {', '.join(classes)}"
        )
    if len(set(classes) - set(eval_classes)) < 2:
        raise ValueError(
            "triplets need at least two classes to train with, and the eval classes "
            f"{', '.join(eval_classes)} leave fewer of {', '.join(classes)}"
        )
    held_out = np.isin(labels, list(eval_classes))
    return {
        name: LabelledImages(images[rows], labels[rows].tolist(), ids[rows].tolist())
        for name, rows in (("train", ~held_out), ("eval", held_out))
    }
