"""Counts that go from step to step of the Beam pipeline, and to the executor, in files."""

from __future__ import annotations

import pickle
from typing import TypeVar

import tensorflow as tf

from components.triplet_gen.neighbourhood import Centroids
from components.triplet_gen.statistics import InputStats, OutputStats
from components.triplet_gen.validation import TRAIN
from modules.storage import read_file, write_file

_Stats = TypeVar("_Stats", InputStats, OutputStats, Centroids)


def save_result(
    temp_dir: str, result: InputStats | OutputStats | Centroids, part: str = TRAIN
) -> None:
    """Saves counts in whole or not at all: two attempts may do it at the same time."""
    write_file(_result_path(temp_dir, part, type(result)), pickle.dumps(result))


def load_result(temp_dir: str, kind: type[_Stats], part: str = TRAIN) -> _Stats:
    """Loads the counts that `make_triplets` saved; none is a count of nothing.

    Args:
        temp_dir: As given to `make_triplets`.
        kind: `InputStats`, `Centroids`, or `OutputStats` of a part.
        part: `train` or `validation`.

    Returns:
        The counts over all files, or over all buckets of the part.
    """
    path = _result_path(temp_dir, part, kind)
    if not tf.io.gfile.exists(path):
        return kind()
    return pickle.loads(read_file(path))


def _result_path(temp_dir: str, part: str, kind: type) -> str:
    return f"{temp_dir}/{kind.__name__}-{part}"
