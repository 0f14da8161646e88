"""Runs the pipeline on this machine; the file that the TFX CLI takes.

    tfx pipeline create --engine local --pipeline_path pipeline/local_runner.py
    tfx run create --engine local --pipeline_name mnist-sample

The environment variable TRIPLET_CONFIG names the configuration (a TOML file or a ready one, see
`pipeline.config`); the default is the MNIST sample.
"""

from __future__ import annotations

import datetime
from pathlib import Path

from pipeline.runtime import quiet_imports

with quiet_imports():
    from tfx.dsl.compiler import constants
    from tfx.orchestration import metadata
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.orchestration.portable import partial_run_utils, runtime_parameter_utils
    from tfx.proto.orchestration import pipeline_pb2

    from pipeline.definition import create_pipeline
    from pipeline.launch import launch_node

from pipeline.config import PROJECT, Config, load_config
from pipeline.metadata import check_database
from pipeline.operations import settle_local
from pipeline.runtime import (
    ConfigError,
    NodeProgress,
    check_places,
    end_when_told,
    hold_lock,
    own_scratch,
    run_reporting,
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
        ConfigError: A folder is missing or cannot be written to.
        MetadataError: The database cannot be used.
    """
    check_places(config)
    config.beam.check_reachable()
    check_database(config.pipeline.metadata, write=True)
    with hold_lock(config, "run"), own_scratch(config):
        settle_local(config)
        try:
            LocalRunner(config).run(create_pipeline(config))
        except (SystemExit, KeyboardInterrupt):  # told to end; a run that is killed cannot do this
            settle_local(config)
            raise


def main() -> None:
    """Runs the configured pipeline.

    Raises:
        SystemExit: The configuration is wrong, another run holds the lock, or a node failed; see
            `ExitCode`.
    """
    with run_reporting():
        end_when_told()
        _check_checkout()
        run_pipeline(load_config())


def _check_checkout() -> None:
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
