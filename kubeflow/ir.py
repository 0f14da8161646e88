"""The compiled TFX pipeline: how it is made, and the order of its nodes."""

from __future__ import annotations

import tempfile

from google.protobuf import json_format
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.proto.orchestration import pipeline_pb2

from pipeline import create_pipeline
from pipeline.config import Config

Dag = dict[str, list[str]]


def compile_ir(config: Config) -> pipeline_pb2.Pipeline:
    """Compiles the pipeline of a configuration without touching its folders.

    Compiling makes the folder of the metadata database. Here that happens in a scratch folder,
    whose name is then replaced: this machine may not have the volume of the cluster.

    Args:
        config: What is compiled.

    Returns:
        The intermediate representation, without a connection to a metadata database.
    """
    with tempfile.TemporaryDirectory(prefix="compile-") as scratch:
        scratch_settings = config.pipeline.model_copy(update={"directory": scratch})
        ir = compiler.Compiler().compile(
            create_pipeline(config.model_copy(update={"pipeline": scratch_settings}))
        )
    _forget_connection(ir)
    text = json_format.MessageToJson(ir).replace(scratch, config.pipeline.directory)
    return json_format.Parse(text, pipeline_pb2.Pipeline())


def _forget_connection(ir: pipeline_pb2.Pipeline) -> None:
    deployment = pipeline_pb2.IntermediateDeploymentConfig()
    ir.deployment_config.Unpack(deployment)
    deployment.ClearField("metadata_connection_config")
    ir.deployment_config.Pack(deployment)


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
