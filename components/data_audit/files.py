"""Which files of examples are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils

from modules.contract import DISTRACTORS, GALLERY

_EVAL = "eval"
_OF_EVALUATION = (_EVAL, GALLERY)


def split_files(
    examples: Sequence[types.Artifact], evaluated: Sequence[types.Artifact] = ()
) -> list[tuple[str, str]]:
    """Lists the files of all splits that have classes.

    Args:
        examples: Artifacts that are trained on.
        evaluated: Artifacts that are evaluated on, if these are others: their eval images count,
            and not those of `examples`.

    Returns:
        (split, path), sorted.
    """
    found = set()
    for artifact in examples:
        for split in artifact_utils.decode_split_names(artifact.split_names):
            if split != DISTRACTORS and not (evaluated and split in _OF_EVALUATION):
                found |= _files(artifact, split)
    for artifact in evaluated:
        for split in artifact_utils.decode_split_names(artifact.split_names):
            if split in _OF_EVALUATION:
                found |= _files(artifact, split)
    return sorted(found)


def _files(artifact: types.Artifact, split: str) -> set[tuple[str, str]]:
    folder = artifact_utils.get_split_uri([artifact], split)
    return {(split, path) for path in tf.io.gfile.glob(f"{folder}/*")}
