"""The file of corrections that an ExampleGen is told: its content is a part of the input."""

from __future__ import annotations

import hashlib
from typing import Any

import tensorflow as tf
from google.protobuf import struct_pb2
from tfx.proto import example_gen_pb2
from tfx.types import standard_component_specs
from tfx.utils import proto_utils

CORRECTIONS = "corrections"  # key in the execution property `custom_config`; absent without any


def corrections_path(exec_properties: dict[str, Any]) -> str | None:
    """The file of corrections that an ExampleGen is told; None for none."""
    config = example_gen_pb2.CustomConfig()
    text = exec_properties.get(standard_component_specs.CUSTOM_CONFIG_KEY)
    if not text:
        return None
    proto_utils.json_to_proto(text, config)
    options = struct_pb2.Struct()
    config.custom_config.Unpack(options)
    return str(options[CORRECTIONS]) if CORRECTIONS in options else None


def hash_corrections(path: str) -> str:
    """SHA-256 of the file.

    Raises:
        ValueError: It cannot be read.
    """
    try:
        with tf.io.gfile.GFile(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except tf.errors.OpError as error:
        raise ValueError(
            f"The corrections {path} cannot be read ({error.message}). Correct [data] corrections, "
            "or remove it."
        ) from error
