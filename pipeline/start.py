"""What the nodes from Transform on begin with: what a run has read, or an earlier one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.types import BaseChannel


class Outputs(Protocol):
    """A node, or what stands in for one."""

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Channels by name."""


@dataclasses.dataclass(frozen=True)
class Start:
    """What the nodes from Transform on begin with.

    Attributes:
        nodes: Those that make it.
        examples: To train on.
        evaluated: To evaluate on.
        schema, statistics: For Transform.
        example_gen, validator: None where the examples are those of an earlier run.
        previous, baseline: Models of an earlier run, by their output `model`; None: a Resolver
            finds them.
        audit: Of an earlier run: its suspects are not mined; None if there was none.
    """

    nodes: list[BaseNode]
    examples: BaseChannel
    evaluated: BaseChannel
    schema: BaseChannel
    statistics: BaseChannel
    example_gen: BaseComponent | None = None
    validator: BaseComponent | None = None
    previous: Outputs | None = None
    baseline: Outputs | None = None
    audit: BaseChannel | None = None
