"""Tells each node of Beam where it runs."""

from __future__ import annotations

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec

from pipeline.config import BeamSettings


def where_beam_runs(settings: BeamSettings, nodes: list[BaseNode]) -> list[BaseNode]:
    """Gives every node of Beam its options.

    Args:
        settings: `[beam]`.
        nodes: Of the pipeline; changed in place.

    Returns:
        The same nodes.

    Raises:
        ConfigError: `[beam.nodes]` names another node.
    """
    specs = {
        node.id: node.executor_spec
        for node in nodes
        if isinstance(node, BaseComponent) and isinstance(node.executor_spec, BeamExecutorSpec)
    }
    settings.check_nodes(specs)
    for name, spec in specs.items():
        spec.add_beam_pipeline_args(settings.of(name).arguments)
    return nodes
