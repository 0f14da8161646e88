"""Puts in order what killed processes have left in the metadata."""

from __future__ import annotations

import logging

import ml_metadata as mlmd

from components.metadata import find_running
from pipeline.config import Config
from pipeline.metadata import close_killed, open_store
from pipeline.operations.rollback import settle_rollbacks
from pipeline.runtime import NotRunError


def settle(store: mlmd.MetadataStore, config: Config) -> None:
    """Closes what no process works on: executions of nodes, and rollbacks.

    A rollback that had pushed is completed, so that the metadata name what is served. In the
    cluster an execution counts as gone when its node was started again later, see `find_running`.

    Args:
        store: The metadata store, for writing.
        config: The pipeline, whose lock must be held.
    """
    name = config.pipeline.name
    settle_rollbacks(store, config)
    patience = config.retraining.hours_per_run * 3600
    going_on = (
        {execution.id for _, _, execution in find_running(store, name, patience)}
        if config.in_cluster
        else set()
    )
    if closed := close_killed(store, name, going_on):
        logging.getLogger(__name__).warning(
            "Closed as killed, of earlier runs of %s: %s.", name, ", ".join(closed)
        )


def settle_local(config: Config) -> None:
    """`settle` of a local pipeline, if it has run."""
    try:
        store = open_store(config, readonly=False)
    except NotRunError:
        return
    settle(store, config)
