"""Which model TrainingDecision judges, and by what it is judged."""

from __future__ import annotations

from collections.abc import Iterator

import ml_metadata as mlmd
from tfx import types
from tfx.components.example_gen import utils
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from components.metadata import JUDGED_MODEL, RECIPE, TRAIN, Lineage, plain_values

REFERENCE_KEY = "reference"
EARLIER_KEY = "earlier"


class ServedModelStrategy(LatestBlessedModelStrategy):
    """The latest blessed model that has not seen the current examples, with what it learned from.

    A model that was trained on the current examples is passed over: so a further run on the same
    span comes to the same decision, and TrainingDecision is cached. A model of another recipe is
    none either: whoever changes the settings of the training wants it to run.

    Expects the channels `model`, `model_blessing`, `examples` (the current artifact), `reference`
    (all Examples of the pipeline) and `earlier` (all its decisions).
    """

    def __init__(self, recipe: str) -> None:
        """Takes the hash of what a training depends on now (in `Resolver(config=…)`)."""
        super().__init__()
        self._recipe = recipe

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves all of it.

        Args:
            store: The metadata store, in which the lineage is looked up.
            input_dict: See the class.

        Returns:
            At most one artifact for `model` and `model_blessing`; for `reference` the examples that
            ExampleGen made and the model was trained on, as far as they are still there, by span;
            for `earlier` the decisions about this model, of earlier spans, the newest last;
            `examples` as they were.
        """
        lineage = Lineage(store)
        (current,) = input_dict["examples"]
        unseen = [
            model
            for model in input_dict["model"]
            if not lineage.is_trained_on(model.id, {current.id})
        ]
        resolved = self._resolve(
            {"model": unseen, "model_blessing": input_dict["model_blessing"]},
            "model",
            "model_blessing",
        )
        served = resolved["model"][0].id if resolved["model"] else None
        if served and plain_values(lineage.maker(served)).get(RECIPE) != self._recipe:
            resolved, served = {"model": [], "model_blessing": []}, None
        reference: list[types.Artifact] = []
        earlier: list[types.Artifact] = []
        if served:
            seen, kind = lineage.trained_on(served), lineage.maker(current.id).type_id
            reference = [
                one
                for one in input_dict[REFERENCE_KEY]
                if one.id in seen and lineage.maker(one.id).type_id == kind
            ]
            earlier = list(_about(served, input_dict[EARLIER_KEY], _span(current)))[::-1]
        return {
            **resolved,
            "examples": [current],
            REFERENCE_KEY: sorted(reference, key=lambda one: (_span(one), one.id)),
            EARLIER_KEY: earlier,
        }


def _about(model: int, decisions: list[types.Artifact], span: int) -> Iterator[types.Artifact]:
    """The decisions before a span, the newest span first, back to one that trained."""
    done: set[int] = set()
    before = [one for one in decisions if _span(one) < span]
    for one in sorted(before, key=lambda one: (_span(one), one.id), reverse=True):
        if _span(one) in done:  # decided anew: what was decided last counts
            continue
        done.add(_span(one))
        if one.get_int_custom_property(JUDGED_MODEL) != model:
            return
        yield one
        if one.get_int_custom_property(TRAIN):
            return


def _span(artifact: types.Artifact) -> int:
    return artifact.get_int_custom_property(utils.SPAN_PROPERTY_NAME)
