"""Which spans a model is trained on, and which it is evaluated on."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import ml_metadata as mlmd
from absl import logging
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx import types
from tfx.components.example_gen import utils
from tfx.dsl.components.common.resolver import ResolverStrategy
from tfx.types import standard_component_specs

from components.metadata import Lineage, Value, plain_values

EXAMPLES_KEY = "examples"
CANDIDATES_KEY = "candidates"


class WindowStrategy(ResolverStrategy):
    """The examples of the last N spans that passed the validation, oldest first.

    TFX's `SpanRangeStrategy` takes any span that was ever read: one that ExampleValidator rejected
    would be trained on in the next run. Of each span only one artifact is taken, the one that
    ExampleGen delivered last of those that passed. The current examples pass for validated: the
    node comes after ExampleValidator.

    A span that was divided into splits in another way than the current one (`output_config`) is
    left out, for its eval examples or classes may be training data of the current one.

    Expects the channels `examples`, the current artifact, and `candidates`, all Examples of the
    pipeline; those that other nodes made, such as triplets, are passed over.
    """

    def __init__(self, window: int = 1) -> None:
        """Takes N, at least 1 (in `Resolver(config=…)`)."""
        super().__init__()
        self._window = window

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `examples`.

        Args:
            store: The metadata store, in which the lineage of the candidates is looked up.
            input_dict: See the class.

        Returns:
            1 to N artifacts of different spans for `examples`, ascending; none for `candidates`.
        """
        newest = list(itertools.islice(_valid(store, input_dict), self._window))
        return {EXAMPLES_KEY: newest[::-1], CANDIDATES_KEY: []}


class FixedSpanStrategy(WindowStrategy):
    """The examples of one span, the same in every run.

    Until that span has passed the validation it is `WindowStrategy`. Channels as there.
    """

    def __init__(self, span: int, window: int = 1) -> None:
        """Takes the span, and N for the time without it (in `Resolver(config=…)`)."""
        super().__init__(window)
        self._span = span

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        """Resolves `examples`; see the class."""
        for one in _valid(store, input_dict):
            if _span(one) == self._span:
                return {EXAMPLES_KEY: [one], CANDIDATES_KEY: []}
        logging.warning(
            "Span %d has not passed the validation yet: evaluated on the window.", self._span
        )
        return super().resolve_artifacts(store, input_dict)


def _valid(
    store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
) -> Iterator[types.Artifact]:
    """The artifact of each span that may be used, the newest span first."""
    (current,) = input_dict[EXAMPLES_KEY]
    lineage = Lineage(store)
    made = lineage.maker(current.id)
    makers = {one.id: lineage.maker(one.id) for one in input_dict[CANDIDATES_KEY]}
    by_span: dict[int, list[types.Artifact]] = {_span(current): [current]}
    for one in sorted(input_dict[CANDIDATES_KEY], key=lambda one: makers[one.id].id, reverse=True):
        if makers[one.id].type_id == made.type_id and _span(one) != _span(current):
            by_span.setdefault(_span(one), []).append(one)
    for span in sorted(by_span, reverse=True):
        for one in by_span[span]:
            if one is current:
                yield one
            elif lineage.validated_statistics([one.id]):
                if _splits(makers[one.id]) == _splits(made):
                    yield one
                    break
                logging.warning(
                    "Span %d is left out: it was divided into splits in another way than the "
                    "current span %d.",
                    span,
                    _span(current),
                )


def _splits(maker: proto.Execution) -> Value | None:
    return plain_values(maker).get(standard_component_specs.OUTPUT_CONFIG_KEY)


def _span(examples: types.Artifact) -> int:
    return examples.get_int_custom_property(utils.SPAN_PROPERTY_NAME)
