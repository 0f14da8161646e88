"""The nodes that make an index, and those that push it with its model."""

from __future__ import annotations

from typing import Any

from tfx.dsl.components.base.base_component import BaseComponent
from tfx.dsl.components.base.base_node import BaseNode
from tfx.dsl.components.common.resolver import Resolver
from tfx.proto import pusher_pb2
from tfx.types import BaseChannel, Channel, standard_artifacts

from components.gallery_example_gen import ImageGalleryGen, SheetGalleryGen
from components.index_gen import INDEX_KEY, PREVIOUS_KEY, Index, IndexGen, settings_text
from components.metadata import UPDATE_LAST_NODE, UPDATE_NODE
from components.pusher import Pusher
from components.report_gen import REPORT_KEY, EvaluationReport
from components.resolvers import PreviousIndexStrategy, ServedIndexStrategy
from pipeline.config import Config


def gallery_nodes(
    config: Config, validator: BaseNode | None, trainer: BaseNode
) -> list[BaseComponent]:
    """Makes the node that reads a gallery of its own; nothing where it is a part of the data.

    Args:
        config: The pipeline.
        validator: Comes first: of data that did not pass nothing is made.
        trainer: Comes later: a catalogue that cannot be read ends the run before hours have gone
            into a model.
    """
    folder = config.index.own_gallery
    if folder is None:
        return []
    dropped, pixels = config.data.max_undecodable_fraction, config.data.max_pixels
    kind = config.index.gallery
    node: BaseComponent
    if kind == "csv" or kind == "parquet":
        node = SheetGalleryGen(folder, kind, dropped, pixels)
    else:
        node = ImageGalleryGen(folder, dropped, pixels)
    if validator:
        node.add_upstream_node(validator)
    trainer.add_upstream_node(node)
    return [node.with_id("GalleryExampleGen")]


def index_nodes(
    config: Config, examples: BaseChannel, model: BaseChannel, blessing: BaseChannel
) -> list[BaseNode]:
    """Makes the index of a blessed model; nothing if there is to be none.

    Args:
        config: The pipeline.
        examples: The gallery.
        model: From Trainer.
        blessing: From Evaluator.
    """
    if not config.index.enabled:
        return []
    inputs = {"examples": examples, "model": model, "model_blessing": blessing}
    previous = Resolver(
        strategy_class=PreviousIndexStrategy,
        config={"settings": settings_text(config.index)},
        previous_index=Channel(type=Index),
        **inputs,
    ).with_id("PreviousIndexResolver")
    return [previous, _index_gen(config, inputs, previous)]


def update_nodes(config: Config, examples: BaseChannel, decision: BaseNode) -> list[BaseNode]:
    """Makes and pushes an index of the served model, which a run has instead of training.

    `pipeline.launch` leaves them out of every other run.

    Args:
        config: The pipeline.
        examples: The gallery.
        decision: TrainingDecision.

    Returns:
        Three nodes; none if there is to be no index.
    """
    if not config.index.enabled:
        return []
    reports = {REPORT_KEY: Channel(type=EvaluationReport)} if config.report.enabled else {}
    served = Resolver(
        strategy_class=ServedIndexStrategy,
        config={"settings": settings_text(config.index)},
        examples=examples,
        model=Channel(type=standard_artifacts.Model),
        model_blessing=Channel(type=standard_artifacts.ModelBlessing),
        previous_index=Channel(type=Index),
        **reports,
    ).with_id(UPDATE_NODE)
    served.add_upstream_node(decision)
    inputs = {key: served.outputs[key] for key in ("model", "model_blessing")}
    index_gen = _index_gen(config, {"examples": examples, **inputs}, served).with_id("IndexUpdate")
    pusher = make_pusher(
        config,
        **inputs,
        index=index_gen.outputs[INDEX_KEY],
        report=served.outputs[REPORT_KEY] if reports else None,
    ).with_id(UPDATE_LAST_NODE)
    return [served, index_gen, pusher]


def make_pusher(
    config: Config,
    model: BaseChannel,
    model_blessing: BaseChannel,
    index: BaseChannel | None,
    report: BaseChannel | None,
) -> Pusher:
    """Makes a Pusher into the serving folder."""
    return Pusher(
        model=model,
        model_blessing=model_blessing,
        index=index,
        report=report,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(
                base_directory=config.pipeline.serving_directory
            )
        ),
        keep_versions=config.pipeline.keep_versions,
        nearest_up_to=config.index.nearest_up_to if index else 0,
    )


def _index_gen(config: Config, inputs: dict[str, Any], previous: BaseNode) -> IndexGen:
    return IndexGen(
        settings=config.index,
        previous_index=previous.outputs[PREVIOUS_KEY],
        background=config.image.background,
        **inputs,
    )
