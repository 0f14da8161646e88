"""For commands that change what a pipeline has made: no run may go on meanwhile."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import ml_metadata as mlmd

from components.metadata import find_running
from pipeline.config import Config
from pipeline.metadata.connection import open_store
from pipeline.metadata.run_summary import local_time
from pipeline.runtime import ConfigError, LockedError, hold_lock


@contextlib.contextmanager
def hold_pipeline(config: Config, command: str) -> Iterator[mlmd.MetadataStore]:
    """Keeps other commands away, and makes sure that no run goes on.

    Local runs hold the same lock as commands. Pods hold none; there the metadata tell what runs, so
    a run that starts later is not kept away.

    Args:
        config: The pipeline, here or in the cluster.
        command: What the holder does, for the message to others.

    Yields:
        The metadata store, for writing.

    Raises:
        LockedError: A run or another command works on the pipeline.
        ConfigError: This machine does not see the folder of the pipeline.
        NotRunError: It has not run yet.
        MetadataError: The database cannot be used.
    """
    check_folder(config)
    remote = "://" in config.pipeline.directory  # an object store has no locks
    with contextlib.nullcontext() if remote else hold_lock(config, command):
        store = open_store(config, readonly=False)
        if config.in_cluster:
            _check_nothing_runs(store, config)
        yield store


def _check_nothing_runs(store: mlmd.MetadataStore, config: Config) -> None:
    name = config.pipeline.name
    for run_id, node, execution in find_running(
        store, name, config.retraining.hours_per_run * 3600
    ):
        since = local_time(execution.create_time_since_epoch)
        raise LockedError(
            f"Pipeline {name!r} is in use: the node {node} of run {run_id} is running in the "
            f"cluster since {since}. Wait until the run has ended, or end it in Kubeflow. If its "
            "pod was killed, it could not say so: take the run up again with "
            f"`python -m kubeflow local --run-id {run_id}`."
        )


def check_folder(config: Config) -> None:
    """Makes sure that this machine sees what pods have made.

    Raises:
        ConfigError: The volume of the cluster is not mounted.
    """
    folder = config.pipeline.directory
    if config.in_cluster and "://" not in folder and not Path(folder).is_dir():
        raise ConfigError(
            f"There is no folder {folder} ([kubeflow] directory): this machine does not see the "
            "volume of the cluster. Mount it there, or call the command where it is mounted."
        )
