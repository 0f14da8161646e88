"""The compiled TFX pipeline: how it is made, and the order of its nodes."""

from __future__ import annotations

import tempfile
import uuid
from pathlib import Path
from typing import Any

from google.protobuf import json_format
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.io import fileio
from tfx.orchestration.portable import runtime_parameter_utils, tfx_runner
from tfx.proto.orchestration import pipeline_pb2

from pipeline.config import Config
from pipeline.pipeline import create_pipeline

Dag = dict[str, list[str]]


class _Packager(tfx_runner.IrBasedRunner):
    """TFX's way to a compiled pipeline with its user modules in wheels; runs nothing."""

    def run_with_ir(
        self,
        pipeline: pipeline_pb2.Pipeline,
        run_options: pipeline_pb2.RunOptions | None = None,
        **kwargs: Any,
    ) -> pipeline_pb2.Pipeline:
        return pipeline


def compile_ir(config: Config, *, package_modules: bool) -> pipeline_pb2.Pipeline:
    """Compiles the pipeline of a configuration without touching its folders.

    Compiling makes the folder of the metadata database and, for wheels of the user modules, that of
    the pipeline root. Here both happen in a scratch folder, whose name is then replaced: the root
    may be a volume that this machine does not have, and two runs may start at once.

    Args:
        config: What is compiled.
        package_modules: Put the user modules as wheels into the pipeline root, as nodes that will
            run need them: a hash of the sources is in the name and so in the key of the cache.

    Returns:
        The intermediate representation, without a connection to a metadata database.
    """
    with tempfile.TemporaryDirectory(prefix="compile-") as scratch:
        scratch_settings = config.pipeline.model_copy(update={"directory": scratch})
        pipeline = create_pipeline(config.model_copy(update={"pipeline": scratch_settings}))
        ir = _Packager().run(pipeline) if package_modules else compiler.Compiler().compile(pipeline)
        _forget_connection(ir)
        text = json_format.MessageToJson(ir).replace(scratch, config.pipeline.directory)
        if package_modules:
            _copy_wheels(Path(scratch_settings.root, "_wheels"), f"{config.pipeline.root}/_wheels")
    return json_format.Parse(text, pipeline_pb2.Pipeline())


def _forget_connection(ir: pipeline_pb2.Pipeline) -> None:
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    ir.deployment_config.Unpack(deployment)
    deployment.ClearField("metadata_connection_config")
    ir.deployment_config.Pack(deployment)


def _copy_wheels(source: Path, target: str) -> None:
    """Their names hold a hash of the sources: one that is there already is the same."""
    for wheel in sorted(source.glob("*.whl")):
        if not fileio.exists(f"{target}/{wheel.name}"):
            write_file(f"{target}/{wheel.name}", wheel.read_bytes())


def write_file(path: str, content: bytes) -> None:
    """Writes a file so that nobody ever reads half of it, whoever else writes it too."""
    fileio.makedirs(path.rpartition("/")[0])
    unfinished = f"{path}.{uuid.uuid4().hex}.tmp"
    with fileio.open(unfinished, "wb") as file:
        file.write(content)
    fileio.rename(unfinished, path, overwrite=True)


def dag(ir: pipeline_pb2.Pipeline) -> Dag:
    """Returns the nodes in topological order, each with those it waits for.

    Raises:
        ValueError: A node that holds a pipeline of its own.
    """
    result: Dag = {}
    for node in ir.nodes:
        if node.WhichOneof("node") != "pipeline_node":
            raise ValueError("A pipeline inside of a pipeline cannot be run node by node.")
        result[node.pipeline_node.node_info.id] = sorted(node.pipeline_node.upstream_nodes)
    return result


def for_run(ir: pipeline_pb2.Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Returns a copy of the pipeline that belongs to one run."""
    run = pipeline_pb2.Pipeline()
    run.CopyFrom(ir)
    runtime_parameter_utils.substitute_runtime_parameter(
        run, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
    )
    return run
