"""Which earlier statistics ExampleValidator compares the current ones with."""

from __future__ import annotations

import ml_metadata as mlmd
from tfx import types
from tfx.dsl.components.common import resolver

from components.metadata import Lineage


class PreviousStatisticsStrategy(resolver.ResolverStrategy):
    """The statistics of the latest earlier span that passed the validation.

    A rejected span is never compared with, so drift that was rejected once is rejected again.
    Earlier means a smaller span, whenever it was read: a further run on the same span resolves to
    the same statistics, and ExampleValidator is cached. Of several versions of a span the one read
    last counts.

    Expects the channels `statistics` and `current`.
    """

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `statistics`.

        Args:
            store: The metadata store, in which the results of the validation are looked up.
            input_dict: All statistics of the pipeline, and those of the current span.

        Returns:
            At most one artifact for `statistics`; `current` as it was.
        """
        lineage = Lineage(store)
        span = max(artifact.span for artifact in input_dict["current"])
        earlier = [artifact for artifact in input_dict["statistics"] if artifact.span < span]
        for artifact in sorted(earlier, key=lambda one: (one.span, one.id), reverse=True):
            if lineage.has_passed(artifact.id):
                return {"statistics": [artifact], "current": input_dict["current"]}
        return {"statistics": [], "current": input_dict["current"]}
