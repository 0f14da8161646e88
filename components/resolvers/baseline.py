"""Which model the candidate must beat."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)


class LatestBlessedBaselineStrategy(LatestBlessedModelStrategy):
    """The latest blessed model other than the candidate.

    TFX's `LatestBlessedModelStrategy` resolves to the candidate itself when nothing was trained
    since it was blessed. Then the inputs of Evaluator change although no data and no code did: it
    runs again, compares the model with itself, and Pusher pushes the same model a second time.

    Expects the channels `model`, `model_blessing` and `candidate`.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `model` and `model_blessing`; both are empty when there is no such model.

        Args:
            store: The metadata store.
            input_dict: All models and blessings of the pipeline, and the candidate.

        Returns:
            At most one artifact for `model` and `model_blessing`; `candidate` as it was.
        """
        candidate = input_dict["candidate"]
        known = {artifact.id for artifact in candidate}
        others = [model for model in input_dict["model"] if model.id not in known]
        resolved = super().resolve_artifacts(
            store, {"model": others, "model_blessing": input_dict["model_blessing"]}
        )
        return {**resolved, "candidate": candidate}
