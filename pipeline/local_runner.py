"""Runs the pipeline on this machine; the file that the TFX CLI takes.

    tfx pipeline create --engine local --pipeline_path pipeline/local_runner.py
    tfx run create --engine local --pipeline_name mnist-sample

The environment variable TRIPLET_CONFIG names the configuration (a TOML file or a ready one, see
`pipeline.config`); the default is the MNIST sample.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable

from pipeline.runtime import EVERYTHING, held_back, quiet_imports

with quiet_imports():
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner
    from tfx.proto.orchestration import pipeline_pb2

    from pipeline.pipeline import create_pipeline

from pipeline.config import Config, load_config
from pipeline.metadata import record_failure
from pipeline.runtime import NodeProgress, PipelineError, hold_lock


class ProgressRunner(LocalDagRunner):
    """TFX's LocalDagRunner with a line per node, and the reason of a failure in the database.

    It leaves `run` alone: the TFX CLI replaces that method of LocalDagRunner to register a pipeline
    without running it.

    Args:
        config: What is run.
        compiled: Called when the pipeline is compiled and the first node is about to start.
    """

    def __init__(self, config: Config, compiled: Callable[[], None]) -> None:
        super().__init__()
        self._config = config
        self._compiled = compiled

    def run_with_ir(
        self, pipeline: pipeline_pb2.Pipeline, run_options: pipeline_pb2.RunOptions | None = None
    ) -> None:
        """Runs all nodes in order; the first that fails ends the run with its exception."""
        self._compiled()
        with NodeProgress(len(pipeline.nodes)) as progress:
            try:
                super().run_with_ir(pipeline, run_options)
            except Exception as error:
                if progress.running_node:
                    record_failure(self._config, progress.running_node, error)
                raise


def main() -> None:
    """Runs the configured pipeline, unless another process works on it.

    Raises:
        SystemExit: The configuration is wrong, or another run holds the lock; see `ExitCode`.
    """
    try:
        config = load_config()
        with hold_lock(config, "run"), contextlib.ExitStack() as compiling:
            # Compiling builds a wheel for each module_file, and setuptools tells all about it.
            compiling.enter_context(held_back(1, EVERYTHING))
            compiling.enter_context(held_back(2, EVERYTHING))
            ProgressRunner(config, compiling.close).run(create_pipeline(config))
    except PipelineError as error:
        print(error, file=sys.stderr)  # noqa: T201
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
