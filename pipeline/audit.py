"""The nodes that look for what is wrong with the images, where `[audit] enabled` asks."""

from __future__ import annotations

from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import BaseChannel, Channel, standard_artifacts

from components.data_audit import DataAudit
from components.resolvers import UnseenModelStrategy
from pipeline.config import Config


def audit_nodes(
    config: Config, examples: BaseChannel, evaluated: BaseChannel, miner: Resolver | None
) -> list[BaseNode]:
    """Makes DataAudit, last, and the resolver of its model; nothing if there is to be none.

    The model that mines judges the labels too, so that the suspects are those of what it mines.
    """
    settings = config.audit
    if not settings.enabled:
        return []
    resolver = None
    if settings.use_model and miner is None:
        resolver = Resolver(
            strategy_class=UnseenModelStrategy,
            model=Channel(type=standard_artifacts.Model),
            model_blessing=Channel(type=standard_artifacts.ModelBlessing),
            examples=examples,
        ).with_id("AuditModelResolver")
    source = (resolver or miner) if settings.use_model else None
    audit = DataAudit(
        examples=examples,
        evaluated=evaluated if config.data.fixed_span is not None else None,
        model=source.outputs["model"] if source else None,
        settings=settings,
        background=config.image.background,
    )
    return [*([resolver] if resolver else []), audit]
