"""What the index of a skipped run is made with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.input_resolution.strategies.latest_blessed_model_strategy import (
    LatestBlessedModelStrategy,
)

from components.index_gen import PREVIOUS_KEY
from components.metadata import Lineage
from components.report_gen import REPORT_KEY
from components.resolvers.previous_index import PreviousIndexStrategy

_MODEL, _BLESSING = "model", "model_blessing"


class ServedIndexStrategy(LatestBlessedModelStrategy):
    """The latest blessed model, which is served, with its report and its earlier index.

    The latest one of all: another could take its place in the serving folder.

    Expects the channels `model`, `model_blessing`, `report` (where there are reports) and
    `previous_index`, all of the pipeline, and `examples`, the current ones.
    """

    def __init__(self, settings: str = "") -> None:
        """Takes `[index]` as `components.index_gen.settings_text` writes it."""
        super().__init__()
        self._previous = PreviousIndexStrategy(settings)

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves all of it.

        Args:
            store: The metadata store, in which the lineage of reports and indexes is looked up.
            input_dict: See the class.

        Returns:
            At most one artifact for `model`, `model_blessing` and `report`; `previous_index` as
            `PreviousIndexStrategy` resolves it; `examples` as they were.
        """
        served = self._resolve(
            {key: input_dict[key] for key in (_MODEL, _BLESSING)}, _MODEL, _BLESSING
        )
        lineage = Lineage(store)
        ids = {model.id for model in served[_MODEL]}
        reports = [
            report
            for report in sorted(input_dict.get(REPORT_KEY, []), key=lambda one: one.id)
            if ids and lineage.inputs_of([report.id], _MODEL) == ids
        ]
        found = self._previous.resolve_artifacts(
            store, {**served, **{key: input_dict[key] for key in ("examples", PREVIOUS_KEY)}}
        )
        return {**found, **({REPORT_KEY: reports[-1:]} if REPORT_KEY in input_dict else {})}
