"""Runs of a pipeline of one ExampleGen: real drivers, launchers, executors and metadata."""

from __future__ import annotations

from pathlib import Path

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx.dsl.compiler.compiler import Compiler
from tfx.dsl.compiler.constants import PIPELINE_RUN_ID_PARAMETER_NAME
from tfx.orchestration import metadata
from tfx.orchestration.local import runner_utils
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable.launcher import Launcher
from tfx.orchestration.portable.runtime_parameter_utils import substitute_runtime_parameter

from components.image_example_gen import ImageExampleGen, given_splits, hash_split
from tests.real_data import BEAM_ARGS, digits


class Runs:
    """Runs of a pipeline of one ExampleGen."""

    def __init__(self, root: Path, node) -> None:
        self.data = root / "data"
        self.data.mkdir()
        self._node = node  # makes the node; one can be in one pipeline only
        self._connection = metadata.sqlite_metadata_connection_config(str(root / "mlmd.sqlite"))
        self._root = root

    def arrives(self, folder: str, start: int = 0) -> None:
        for image, label, name in digits(2, start=start):
            path = self.data / folder / label.decode() / f"{name.decode()[-4:]}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(image)

    def pipeline(self) -> Pipeline:
        return Pipeline(
            "p",
            str(self._root / "artifacts"),
            components=[self._node(str(self.data))],
            enable_cache=True,
            metadata_connection_config=self._connection,
            beam_pipeline_args=BEAM_ARGS,
        )

    def run(self) -> tuple[int, str]:
        """The span that was read, and the state of the execution."""
        LocalDagRunner().run(self.pipeline())
        execution = self.executions()[-1]
        return self.span(execution), proto.Execution.State.Name(execution.last_known_state)

    def retry(self, run_id: str) -> None:
        """Runs the node in a run that may have tried it before."""
        ir = Compiler().compile(self.pipeline())
        substitute_runtime_parameter(ir, {PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
        deployment = runner_utils.extract_local_deployment_config(ir)
        node = ir.nodes[0].pipeline_node
        Launcher(
            node,
            metadata.Metadata(self._connection),
            ir.pipeline_info,
            ir.runtime_spec,
            runner_utils.extract_executor_spec(deployment, node.node_info.id),
            runner_utils.extract_custom_driver_spec(deployment, node.node_info.id),
        ).launch()

    @property
    def store(self) -> mlmd.MetadataStore:
        return mlmd.MetadataStore(self._connection)

    def executions(self) -> list[proto.Execution]:
        return sorted(self.store.get_executions(), key=lambda execution: execution.id)

    def artifact(self, execution: proto.Execution) -> proto.Artifact:
        (event,) = self.store.get_events_by_execution_ids([execution.id])
        return self.store.get_artifacts_by_id([event.artifact_id])[0]

    def span(self, execution: proto.Execution) -> int:
        return self.artifact(execution).custom_properties["span"].int_value


def images(pattern: str, **options):
    config = given_splits({"all": pattern})
    return lambda path: ImageExampleGen(path, config, hash_split(0.3), **options)
