"""Which earlier model TripletGen mines with and Trainer starts from."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)
from tfx.utils import json_utils

from components.metadata import Lineage, plain_values

TRAINING_RECIPE = "training_recipe"  # of the Trainer's `custom_config`


class PreviousModelStrategy(LatestBlessedModelStrategy):
    """The latest blessed model, chosen so that runs on unchanged data come to rest.

    TFX's `LatestBlessedModelStrategy` alone would make every run train: each run blesses a model,
    which is a new input of the next run. Here a model that was itself trained on the current
    examples is taken at most `rounds_on_same_data` times in a row. After that the strategy resolves
    to the model that the latest one was made from: nothing changes, and every node is cached.

    With 0 rounds a model is taken up only when new examples arrive; with 1 a second run on the same
    examples mines with the model of the first, and the third run is cached.

    With a recipe only models of it count as rounds: one that was trained on the same examples by
    other settings or code is what a change of these is to be compatible with.

    Expects the channels `model`, `model_blessing` and `examples`.
    """

    def __init__(self, rounds_on_same_data: int = 0, recipe: str | None = None) -> None:
        """Takes what `Resolver(config=…)` gives.

        Args:
            rounds_on_same_data: At least 0.
            recipe: As `TRAINING_RECIPE` of the Trainer's `custom_config` has it.
        """
        super().__init__()
        self._rounds, self._recipe = rounds_on_same_data, recipe

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `model` and `model_blessing`; both are empty when there is no such model.

        Args:
            store: The metadata store, in which the lineage of the models is looked up.
            input_dict: All models and blessings of the pipeline, and the current examples.

        Returns:
            At most one artifact for `model` and `model_blessing`; `examples` as they were.
        """
        examples = {artifact.id for artifact in input_dict["examples"]}
        resolved = self._latest_blessed(input_dict["model"], input_dict["model_blessing"])
        if resolved["model"]:
            lineage = Lineage(store)
            latest = resolved["model"][0].id
            oldest, rounds = latest, 0
            while (
                oldest is not None
                and lineage.is_trained_on(oldest, examples)
                and self._is_of_recipe(lineage, oldest)
            ):
                oldest, rounds = lineage.made_from(oldest), rounds + 1
            if rounds > self._rounds:
                parent = lineage.made_from(latest)
                resolved = self._latest_blessed(
                    [model for model in input_dict["model"] if model.id == parent],
                    input_dict["model_blessing"],
                )
        return {**resolved, "examples": input_dict["examples"]}

    def _is_of_recipe(self, lineage: Lineage, model: int) -> bool:
        if self._recipe is None:
            return True
        text = str(plain_values(lineage.maker(model)).get("custom_config", "null"))
        return (json_utils.loads(text) or {}).get(TRAINING_RECIPE) == self._recipe

    def _latest_blessed(
        self, models: list[types.Artifact], blessings: list[types.Artifact]
    ) -> dict[str, list[types.Artifact]]:
        return self._resolve(
            {"model": list(models), "model_blessing": blessings}, "model", "model_blessing"
        )
