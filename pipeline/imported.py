"""The data of an earlier run as the start of another one, in a folder and a database of its own.

Importer nodes name what the earlier run has read; nothing of it is copied or changed.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from tfx.dsl.components.common.importer import Importer
from tfx.types import Artifact, BaseChannel, standard_artifacts
from tfx.types.channel import union

from components.data_audit import Audit
from components.metadata import PipelineRun, Values
from pipeline.runtime import NotRunError
from pipeline.start import Start

_KINDS: dict[str, type[Artifact]] = {
    "examples": standard_artifacts.Examples,
    "schema": standard_artifacts.Schema,
    "statistics": standard_artifacts.ExampleStatistics,
    "model": standard_artifacts.Model,
    "model_blessing": standard_artifacts.ModelBlessing,
    "audit": Audit,
}


class RunInputs(NamedTuple):
    """What the nodes from Transform on have read in a run; artifacts as plain values.

    Attributes:
        trained: Examples by span.
        evaluated: The same of the Evaluator.
        schema, statistics: One artifact each, or none.
        previous: The model that was mined with or started from, if there was one.
        baseline: The last blessed model and its blessing, by output of BaselineResolver.
        audit: What names the suspects that were not mined, if there was one.
    """

    trained: dict[int, Values]
    evaluated: dict[int, Values]
    schema: list[Values]
    statistics: list[Values]
    previous: list[Values]
    baseline: dict[str, list[Values]]
    audit: Sequence[Values] = ()

    @property
    def uris(self) -> list[str]:
        """Where all of it lies."""
        artifacts = [
            *self.trained.values(), *self.evaluated.values(), *self.schema, *self.statistics,
            *self.previous, *self.audit, *(one for some in self.baseline.values() for one in some),
        ]  # fmt: skip
        return sorted({str(one["uri"]) for one in artifacts})


def inputs_of(run: PipelineRun) -> RunInputs:
    """Reads the inputs of a run that was evaluated.

    Raises:
        NotRunError: It lacks one of the nodes.
    """
    try:
        transform, triplet_gen, trainer, evaluator = (
            run.nodes[name].read for name in ("Transform", "TripletGen", "Trainer", "Evaluator")
        )
    except KeyError as error:
        raise NotRunError(f"The run {run.run_id} has no node {error}.") from error
    resolver = run.nodes.get("BaselineResolver")
    baseline = {
        key: some
        for key, some in (resolver.made if resolver else {}).items()
        if key in ("model", "model_blessing")
    }
    return RunInputs(
        trained=_by_span(triplet_gen["examples"]),
        evaluated=_by_span(evaluator["examples"]),
        schema=transform.get("schema", []),
        statistics=transform.get("statistics", []),
        previous=triplet_gen.get("model", []) or trainer.get("base_model", []),
        baseline=baseline if evaluator.get("baseline_model") else {},
        audit=triplet_gen.get("audit", []),
    )


def imported_start(
    inputs: RunInputs, without: Collection[int], not_evaluated: Collection[int]
) -> Start:
    """Makes the nodes that import the data of a run, some spans left out.

    Args:
        inputs: Of the run.
        without: Spans that are not trained on.
        not_evaluated: Spans that are not evaluated on.

    Returns:
        For `create_pipeline`.
    """
    nodes: dict[str, Importer] = {}

    def one(key: str, artifact: Values) -> BaseChannel:
        return _import(nodes, key, artifact)

    def spans(artifacts: Mapping[int, Values], left_out: Collection[int]) -> BaseChannel:
        found = [one("examples", a) for span, a in artifacts.items() if span not in left_out]
        return found[0] if len(found) == 1 else union(found)

    def first(key: str, artifacts: Sequence[Values]) -> Any:
        return one(key, artifacts[0]) if artifacts else None

    trained = spans(inputs.trained, without)
    evaluated = spans(inputs.evaluated, not_evaluated)
    schema, statistics = first("schema", inputs.schema), first("statistics", inputs.statistics)
    audit = first("audit", inputs.audit)
    # Without one, no Resolver looks for it among the models of other trials.
    previous = _Outputs({"model": first("model", inputs.previous)})
    baseline = _Outputs(
        {key: first(key, inputs.baseline.get(key, [])) for key in ("model", "model_blessing")}
    )
    return Start(
        list(nodes.values()), trained, evaluated, schema, statistics,
        previous=previous, baseline=baseline, audit=audit,
    )  # fmt: skip


class _Outputs(NamedTuple):
    """Stands in for a resolver."""

    outputs: dict[str, Any]


def _import(nodes: dict[str, Importer], key: str, artifact: Values) -> BaseChannel:
    """The channel of an artifact; each is imported once."""
    uri, kind = str(artifact["uri"]), _KINDS[key]
    if uri not in nodes:
        typed = kind.PROPERTIES or {}
        kept = {k: v for k, v in artifact.items() if k != "uri" and not isinstance(v, float)}
        properties = {k: v for k, v in kept.items() if k in typed}
        custom = {k: v for k, v in kept.items() if k not in typed}
        nodes[uri] = Importer(
            source_uri=uri,
            artifact_type=kind,
            properties=properties,
            custom_properties=custom,
            output_key=key,
        ).with_id("Import-" + re.sub(r"[^A-Za-z0-9]+", "-", f"{key}-{uri[-40:]}"))
    return nodes[uri].outputs[key]


def _by_span(examples: Sequence[Values]) -> dict[int, Values]:
    return {int(one["span"]): one for one in examples}
