"""Which model DataAudit looks at the data with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from components.metadata import Lineage


class UnseenModelStrategy(LatestBlessedModelStrategy):
    """The latest blessed model that was not trained on all of the current examples.

    Labels are best judged by a model that has not learned them. And a model that was trained on
    these examples would be a new input after every training: so a further run on the same examples
    resolves to the same model as before, and is cached.

    Expects the channels `model`, `model_blessing` and `examples` (the current artifacts).
    """

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
        lineage = Lineage(store)
        examples = {artifact.id for artifact in input_dict["examples"]}
        unseen = [
            model for model in input_dict["model"] if not lineage.is_trained_on(model.id, examples)
        ]
        resolved = self._resolve(
            {"model": unseen, "model_blessing": input_dict["model_blessing"]},
            "model",
            "model_blessing",
        )
        return {**resolved, "examples": input_dict["examples"]}
