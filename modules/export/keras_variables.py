"""Keras' variables as a server in C++ restores them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras


@contextlib.contextmanager
def one_variable_each() -> Iterator[None]:
    """While it is open, a SavedModel has one variable for each of Keras'.

    Keras 3 puts a copy of each variable into the graph, and names the copy as what is restored. In
    Python that works, as loading puts the objects together again. TensorFlow Serving runs the graph
    alone: it fills the copies, the network reads the originals, and every request fails with "Could
    not find variable". Source: `keras/src/backend/tensorflow/core.py`.
    """
    method = "_export_to_saved_model_graph"
    original = getattr(keras.Variable, method)

    def export(variable: Any, object_map: Any, *args: Any, **options: Any) -> Any:
        resources = getattr(variable.value, method)(object_map, *args, **options)
        object_map[variable] = object_map[variable.value]
        return resources

    setattr(keras.Variable, method, export)
    try:
        yield
    finally:
        setattr(keras.Variable, method, original)
