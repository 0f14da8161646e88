"""Which earlier index IndexGen takes vectors from."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common import resolver

from components.index_gen import BUILT, PREVIOUS_KEY, SETTINGS
from components.metadata import Lineage


class PreviousIndexStrategy(resolver.ResolverStrategy):
    """The latest index that was made before the first one of the same inputs and settings.

    The latest of all would be a new input of every run, so IndexGen would never be cached. With
    this rule it is: the same inputs resolve to the same earlier index, however often they come.

    Expects the channels `previous_index`, `examples`, `model` and `model_blessing`.
    """

    def __init__(self, settings: str = "") -> None:
        """Takes `[index]` as `components.index_gen.settings_text` writes it."""
        self._settings = settings

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `previous_index`; empty when there is none.

        Args:
            store: The metadata store, in which the lineage of the indexes is looked up.
            input_dict: All indexes of the pipeline; the current inputs of IndexGen.

        Returns:
            At most one artifact for `previous_index`; the others as they were.
        """
        lineage = Lineage(store)
        current = {
            key: {artifact.id for artifact in input_dict[key]}
            for key in ("examples", "model", "model_blessing")
        }

        def is_same(index: types.Artifact) -> bool:
            return index.get_string_custom_property(SETTINGS) == self._settings and all(
                lineage.inputs_of([index.id], key) == ids for key, ids in current.items()
            )

        every = sorted(input_dict[PREVIOUS_KEY], key=lambda index: index.id)
        first = next((index.id for index in every if is_same(index)), None)
        earlier = [
            index
            for index in every
            if index.get_int_custom_property(BUILT) and (first is None or index.id < first)
        ]
        return {**input_dict, PREVIOUS_KEY: earlier[-1:]}
