"""A pipeline that begins with the data of an earlier run: what its nodes read."""

from __future__ import annotations

import pytest
from tfx.dsl.components.base.base_node import BaseNode

from pipeline.config import parse_config
from pipeline.definition import create_pipeline
from pipeline.imported import RunInputs, imported_start

SPANS = (3, 4, 5)
BEFORE = {"ExampleGen", "SchemaGen", "StatisticsGen", "ExampleValidator", "TrainingDecision"}


def artifact(name: str, **properties: int | float | str) -> dict:
    return {"uri": f"/run/{name}/1", **properties}


def of_run(**changes) -> RunInputs:
    spans = {span: artifact(f"examples-{span}", span=span, version=0) for span in SPANS}
    found = RunInputs(
        trained=spans,
        evaluated=spans,
        schema=[artifact("schema")],
        statistics=[artifact("statistics")],
        previous=[artifact("model")],
        baseline={
            "model": [artifact("model")],
            "model_blessing": [artifact("blessing", blessed=1, gain=0.5)],
        },
    )
    return found._replace(**changes)


def nodes(
    inputs: RunInputs, triplets: dict[str, object] | None = None, **evaluation
) -> dict[str, BaseNode]:
    tables = {
        "triplets": triplets or {},
        "pipeline": {"name": "mine", "warm_start": True},
        "data": {"path": "x", "split": "hash", "pattern": "{SPAN}/*", "window": 3},
        "image": {"height": 28, "width": 28, "channels": 1},
        "evaluation": evaluation,
    }
    start = imported_start(inputs, without=[5], not_evaluated=[4, 5])
    chain = create_pipeline(parse_config(tables, "test"), start)
    return {node.id: node for node in chain.components}


def read(found: dict[str, BaseNode], node: str, key: str) -> list[str]:
    """The places that an input comes from."""
    channel = found[node].inputs[key]
    channels = getattr(channel, "channels", [channel])
    return [
        str(found[one.producer_component_id].exec_properties["artifact_uri"]) for one in channels
    ]


def test_the_nodes_read_what_is_left_of_the_window_and_the_models_of_the_run() -> None:
    found = nodes(of_run())
    assert not [name for name in found if name.endswith(tuple(BEFORE))]
    assert not {"WindowResolver", "PreviousModelResolver", "BaselineResolver"} & found.keys()
    for node in ("Transform", "TripletGen"):
        assert read(found, node, "examples") == ["/run/examples-3/1", "/run/examples-4/1"]
    assert read(found, "Evaluator", "examples") == ["/run/examples-3/1"]
    assert read(found, "Trainer", "base_model") == ["/run/model/1"]
    assert read(found, "Evaluator", "baseline_model") == ["/run/model/1"]
    assert read(found, "Transform", "schema") == ["/run/schema/1"]
    assert "baseline_blessing" not in found["Evaluator"].inputs
    assert found["Evaluator"].exec_properties["kept_neighbours"] is None
    # Nothing that people use is made.
    assert list(found)[-1] == "Evaluator"
    assert not {"ReportGen", "PreviousIndexResolver", "IndexGen", "Pusher"} & found.keys()


def test_what_the_audit_of_the_run_doubted_is_not_mined_either() -> None:
    audited = of_run(audit=[artifact("audit", suspects=3)])
    assert "/run/audit/1" in audited.uris
    found = nodes(audited, triplets={"strategy": "hard"})
    assert read(found, "TripletGen", "audit") == ["/run/audit/1"]
    assert "DataAudit" not in found
    assert "audit" not in nodes(of_run(), triplets={"strategy": "hard"})["TripletGen"].inputs


def test_the_operating_point_of_the_last_blessed_model_is_compared_with() -> None:
    found = nodes(of_run(), verification=True, false_accept_rate=0.01)
    assert read(found, "Evaluator", "baseline_blessing") == ["/run/blessing/1"]


@pytest.mark.parametrize("rate", [None, 0.01])
def test_a_first_model_had_none_to_start_from_nor_to_be_compared_with(rate: float | None) -> None:
    asked = {"verification": True, "false_accept_rate": rate} if rate else {}
    found = nodes(of_run(previous=[], baseline={}), **asked)
    assert not {"baseline_model", "baseline_blessing"} & found["Evaluator"].inputs.keys()
    assert "base_model" not in found["Trainer"].inputs
    assert not {"PreviousModelResolver", "BaselineResolver"} & found.keys()
