"""The nodes that decide whether a span is trained on, where `[retraining] tolerated_drop` asks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.types import Channel, standard_artifacts

from components.metadata import RECIPE
from components.resolvers import EARLIER_KEY, EXAMPLES_KEY, REFERENCE_KEY, ServedModelStrategy
from components.training_decision import Decision, TrainingDecision
from pipeline.config import Config


def set_recipe(config: Config, trainer: BaseComponent, before: Iterable[BaseComponent]) -> None:
    """Notes with the Trainer what its model depends on besides the data, as one hash.

    A model of other settings or of other code is not the one that the configuration asks for, so
    no decision may keep it. The hash follows from what is in the keys of the cache anyway, so it
    makes nothing run again.

    Args:
        config: The pipeline.
        trainer: With all its parameters, the fingerprint of its code among them; it gets one more.
        before: The nodes that prepare its inputs, likewise.
    """
    parts = [dict(node.exec_properties) for node in (*before, trainer)]
    parts.append({"window": config.data.window, "warm_start": config.pipeline.warm_start})
    text = json.dumps(parts, sort_keys=True, default=str)
    trainer.exec_properties[RECIPE] = hashlib.sha256(text.encode()).hexdigest()[:16]


def decision_nodes(
    config: Config,
    example_gen: BaseComponent,
    validator: BaseComponent,
    trainer: BaseComponent,
    waiting: Iterable[BaseNode],
) -> list[BaseNode]:
    """Makes the decision and the resolver before it.

    Args:
        config: The pipeline.
        example_gen: The new span.
        validator: Nothing is decided about data that did not pass it.
        trainer: With its recipe, see `set_recipe`.
        waiting: The first nodes that are left out when a span is skipped; those after them follow.

    Returns:
        Two nodes; none where every span is trained on.
    """
    settings = config.retraining
    if settings.tolerated_drop is None:
        return []
    resolver = Resolver(
        strategy_class=ServedModelStrategy,
        config={"recipe": trainer.exec_properties[RECIPE]},
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        **{
            EXAMPLES_KEY: example_gen.outputs["examples"],
            REFERENCE_KEY: Channel(type=standard_artifacts.Examples),
            EARLIER_KEY: Channel(type=Decision),
        },
    ).with_id("ServedModelResolver")
    decision = TrainingDecision(
        examples=resolver.outputs[EXAMPLES_KEY],
        model=resolver.outputs["model"],
        reference=resolver.outputs[REFERENCE_KEY],
        earlier=resolver.outputs[EARLIER_KEY],
        tolerated_drop=settings.tolerated_drop,
        max_skips=settings.max_skips,
        level=config.judged_by.change_level,
        gallery_split=config.evaluation.gallery_split,
        exclude_same=config.evaluation.exclude_same,
    )
    resolver.add_upstream_node(validator)
    for node in waiting:
        node.add_upstream_node(decision)
    return [resolver, decision]
