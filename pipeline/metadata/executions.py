"""Single executions, for those who run the nodes."""

from __future__ import annotations

from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import executions_of_node, find_execution, mark_failed
from pipeline.config import Config
from pipeline.metadata.connection import open_store

__all__ = ["find_execution", "mark_failed", "record_failure"]

# An error in the driver of a node, such as no files to read, leaves it as running.
_ENDED = (proto.Execution.FAILED, proto.Execution.RUNNING)


def record_failure(config: Config, node: str, error: Exception) -> None:
    """Keeps the message of a failed node with its execution, which TFX marks without a reason."""
    store = open_store(config, readonly=False)
    executions = executions_of_node(store, config.pipeline.name, node)
    if executions and executions[-1].last_known_state in _ENDED:
        mark_failed(store, executions[-1], f"{type(error).__name__}: {error}")
