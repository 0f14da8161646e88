"""Runs the pipeline on this machine; the file that the TFX CLI takes.

    tfx pipeline create --engine local --pipeline_path pipeline/local_runner.py
    tfx run create --engine local --pipeline_name mnist-sample

The environment variable TRIPLET_CONFIG names the configuration (a TOML file or a ready one, see
`pipeline.config`); the default is the MNIST sample.
"""

from __future__ import annotations

import datetime
import traceback
from pathlib import Path

from pipeline.runtime import quiet_imports

with quiet_imports():
    import tensorflow as tf
    from tfx.dsl.compiler import constants
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.portable import partial_run_utils, runtime_parameter_utils
    from tfx.proto.orchestration import pipeline_pb2

    from pipeline.definition import create_pipeline
    from pipeline.features import check_features
    from pipeline.launch import launch_node

from modules.runtime import printable
from pipeline.config import PROJECT, Config, load_config
from pipeline.metadata import check_database
from pipeline.operations import settle_local
from pipeline.runtime import (
    ConfigError,
    NodeFailedError,
    NodeProgress,
    check_places,
    end_when_told,
    hold_lock,
    own_scratch,
    run_reporting,
    without_bytes,
)


class LocalRunner(LocalDagRunner):
    """Runs the nodes one after the other; the first that fails ends the run.

    It leaves `run` alone: the TFX CLI replaces that method of LocalDagRunner to register a pipeline
    without running it.

    Args:
        config: What is run.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """Runs the nodes in order.

        Args:
            pipeline: As compiled; it becomes the pipeline of this run.
            run_options: Which part of the nodes to run, as `run` compiles it; default: all.

        Raises:
            NodeFailedError: A node failed.
        """
        runtime_parameter_utils.substitute_runtime_parameter(
            pipeline,
            {constants.PIPELINE_RUN_ID_PARAMETER_NAME: datetime.datetime.now().isoformat()},
        )
        connection = metadata.Metadata(
            metadata.sqlite_metadata_connection_config(self._config.pipeline.metadata)
        )
        if run_options:
            part = run_options.partial_run
            partial_run_utils.mark_pipeline(
                pipeline,
                from_nodes=part.from_nodes or None,
                to_nodes=part.to_nodes or None,
                snapshot_settings=part.snapshot_settings,
            )
        nodes = [node.pipeline_node for node in pipeline.nodes]
        nodes = [node for node in nodes if not node.execution_options.HasField("skip")]
        progress = NodeProgress(len(nodes))
        for node in nodes:
            if node.execution_options.run.perform_snapshot:
                with connection as handle:
                    partial_run_utils.snapshot(handle, pipeline)
            # ML Metadata would wait for minutes, and name no file.
            check_database(self._config.pipeline.metadata, write=True, whole=False)
            with progress.of(node.node_info.id) as shown:
                shown.outcome = launch_node(pipeline, node.node_info.id, connection).outcome


def run_pipeline(config: Config) -> None:
    """Runs a pipeline on this machine, unless another process works on it.

    Raises:
        LockedError: Another run holds the lock.
        NodeFailedError: A node failed.
        ConfigError: A folder is missing or cannot be written to, or the data lacks a feature.
        NoDataError: The folder of the data is empty.
        MetadataError: The database cannot be used.
    """
    check_places(config)
    check_features(config)
    check_database(config.pipeline.metadata, write=True)
    _check_machine(config)
    with hold_lock(config, "run"), own_scratch(config):
        settle_local(config)
        try:
            LocalRunner(config).run(create_pipeline(config))
        except NodeFailedError as error:
            path = _keep_traceback(config, error)
            raise NodeFailedError(f"{error} (The traceback is in {path}.)") from error.__cause__
        except (SystemExit, KeyboardInterrupt):  # told to end; a run that is killed cannot do this
            settle_local(config)
            raise


def _keep_traceback(config: Config, error: NodeFailedError) -> Path:
    """Writes where the error of the last run came from; nobody may have been there to see it."""
    path = Path(config.pipeline.logs) / "traceback.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = traceback.format_exception(error.__cause__ or error)
    path.write_text(printable(without_bytes("".join(lines))), encoding="utf-8")
    return path


def _check_machine(config: Config) -> None:
    """Looks for what only this machine knows, before the first node.

    Raises:
        ConfigError: There is no such device, or Beam's job server does not answer.
    """
    distribution = config.training.distribution
    if distribution.startswith("/"):
        devices = [device.name.partition(":")[2] for device in tf.config.list_logical_devices()]
        wanted = distribution.upper().rpartition("/")[2].removeprefix("DEVICE:")
        if wanted not in devices:
            raise ConfigError(
                f"training.distribution is {distribution!r}: there is no such device here, only "
                f"{', '.join(f'/{name}' for name in devices)}."
            )
    config.beam.check_reachable()


def main() -> None:
    """Runs the configured pipeline.

    Raises:
        SystemExit: The configuration is wrong, another run holds the lock, or a node failed; see
            `ExitCode`.
    """
    with run_reporting():
        end_when_told()
        check_checkout()
        run_pipeline(load_config())


def check_checkout() -> None:
    """Refuses to run for another checkout of this project.

    The TFX CLI keeps pipelines in the home folder by their names alone, so `tfx run create` in one
    checkout would start the runner of another that has registered the same name later.

    Raises:
        ConfigError: This process was started in another checkout.
    """
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "pipeline" / "local_runner.py").is_file():
            if folder.resolve() == PROJECT:
                return
            raise ConfigError(
                f"This is the runner of {PROJECT}, started in {folder}: the TFX CLI knows "
                f"pipelines by their names only. Register it anew with `tfx pipeline update` in "
                f"{folder}, or "
                "give each checkout a folder of its own by the environment variable LOCAL_HOME."
            )


if __name__ == "__main__":
    main()
