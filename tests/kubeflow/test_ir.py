"""The compiled TFX pipeline."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import json_format

from kubeflow.ir import compile_ir, dag, for_run
from kubeflow.sharing import share_pods
from pipeline.config import Config, parse_config
from pipeline.fingerprint import CODE_FINGERPRINT


def config(directory: Path | str) -> Config:
    return parse_config(
        {
            "pipeline": {"name": "digits", "directory": str(directory)},
            "data": {"path": f"{directory}/photos"},
        },
        "the test",
    )


def test_user_modules_are_imported_by_name_and_known_by_their_code(tmp_path) -> None:
    ir = compile_ir(config(tmp_path))
    parameters = {
        node.pipeline_node.node_info.id: {
            name: value.field_value.string_value
            for name, value in node.pipeline_node.parameters.parameters.items()
        }
        for node in ir.nodes
    }
    assert parameters["Trainer"]["run_fn"] == "modules.trainer.run_fn"
    assert parameters["Transform"]["preprocessing_fn"] == "modules.preprocessing.preprocessing_fn"
    assert parameters["Evaluator"]["module_path"] == "modules.evaluator"
    fingerprints = {
        node: of_node[CODE_FINGERPRINT]
        for node, of_node in parameters.items()
        if CODE_FINGERPRINT in of_node
    }
    assert len(fingerprints) == 11
    assert len(set(fingerprints.values())) == 11
    assert not any(of_node.get("module_file") for of_node in parameters.values())
    assert not list(tmp_path.iterdir())  # nothing was packed
    assert compile_ir(config(tmp_path)) == ir


def test_the_decision_is_a_task_of_its_own_where_it_is_asked_for(tmp_path) -> None:
    tables = config(tmp_path).model_dump(mode="json", exclude_unset=True)
    tables["data"] |= {"split": "hash", "pattern": "{SPAN}/*", "window": 2}
    without = dag(compile_ir(parse_config(tables, "the test")))
    tables["retraining"] = {"tolerated_drop": 0.01}
    asked = dag(compile_ir(parse_config(tables, "the test")))
    update = {"ServedIndexResolver", "IndexUpdate", "UpdatePusher"}
    assert asked.keys() - without.keys() == {"ServedModelResolver", "TrainingDecision", *update}
    waiting = {node for node, upstream in asked.items() if "TrainingDecision" in upstream}
    assert waiting == {
        "AuditModelResolver", "DataAudit", "Transform", "TripletGen", "ServedIndexResolver",
    }  # fmt: skip
    assert "ExampleValidator" in asked["ServedModelResolver"]
    assert asked["TrainingDecision"] == ["ServedModelResolver"]
    # It decides in the pod that read the span; neither spans nor the decision add a level.
    pods = {pod.nodes[-1]: pod for pod in share_pods(asked, {"Trainer"})}
    assert pods.pop("UpdatePusher").nodes == ("ServedIndexResolver", "IndexUpdate", "UpdatePusher")
    assert list(pods) == [
        "TrainingDecision", "DataAudit", "Transform", "TripletGen", "Trainer", "Pusher",
    ]  # fmt: skip
    assert {"StatisticsGen", "WindowResolver"} <= set(pods["TrainingDecision"].nodes)


def test_compiling_for_another_machine_leaves_no_trace(tmp_path) -> None:
    elsewhere = tmp_path / "volume"
    ir = compile_ir(config(elsewhere))
    assert not elsewhere.exists()
    order = list(dag(ir))
    assert order[0] == "ImportExampleGen"
    assert {"BaselineResolver", "Trainer"} <= set(dag(ir)["Evaluator"])
    for node, upstream in dag(ir).items():
        assert all(order.index(before) < order.index(node) for before in upstream)

    run = for_run(ir, "run-7")
    assert run.runtime_spec.pipeline_run_id.field_value.string_value == "run-7"
    assert (
        run.runtime_spec.pipeline_root.field_value.string_value == f"{elsewhere}/digits/artifacts"
    )
    assert "sqlite" not in json_format.MessageToJson(run)
    assert not ir.runtime_spec.pipeline_run_id.HasField("field_value")  # a copy
