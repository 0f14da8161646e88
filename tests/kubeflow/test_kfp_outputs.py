"""What Kubeflow's pages show of a run, from the properties that the nodes left."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import NodeExecution, PipelineRun
from kubeflow.kfp_outputs import outputs_of, write_outputs


def run_of(**made: dict) -> PipelineRun:
    """A run of one node for each output, by the id of the node."""
    return PipelineRun(
        "r",
        {
            node: NodeExecution(node, proto.Execution(), {}, {key: [values]})
            for node, (key, values) in made.items()
        },
    )


def shown(folder: Path, run: PipelineRun, **options: str) -> dict[str, dict]:
    names = outputs_of(["Evaluator", "IndexGen", "Pusher", "ReportGen"])
    assert names == {"metrics": "Metrics", "pushed": "Model", "report": "HTML"}
    given = {
        "outputs": {
            "outputFile": str(folder / "kfp" / "out.json"),
            "artifacts": {n: {"artifacts": [{"name": n, "uri": f"minio://b/{n}"}]} for n in names},
        }
    }
    write_outputs(json.dumps(given), run, **options)
    text = (folder / "kfp" / "out.json").read_text()
    parsed = json_format.Parse(text, pipeline_spec_pb2.ExecutorOutput())  # as the backend does
    found = {}
    for name, artifacts in parsed.artifacts.items():
        (one,) = artifacts.artifacts
        assert one.uri == f"minio://b/{name}"
        found[name] = json_format.MessageToDict(one.metadata)
    return found


def test_metrics_verdict_and_version(tmp_path) -> None:
    evaluation = {
        "uri": "/x", "candidate precision@1": 0.75, "baseline precision@1": 0.5,
        "candidate map@r": 0.5, "change precision@1 lower": 0.125, "state": "published",
    }  # fmt: skip
    pushed = {"pushed": 1, "pushed_version": "17", "pushed_destination": "/s/17"}
    run = run_of(
        ImageExampleGen=("examples", {"uri": "/e", "span": 17, "images": 40, "version": 0}),
        Evaluator=("evaluation", evaluation),
        Judge=("blessing", {"blessed": 1}),
        Pusher=("pushed_model", pushed),
    )
    assert shown(tmp_path, run) == {
        "metrics": {
            "candidate precision@1": 0.75, "baseline precision@1": 0.5, "candidate map@r": 0.5,
            "change precision@1": 0.75 - 0.5, "change precision@1 lower": 0.125,
            "blessed": 1, "span": 17, "images": 40,
        },
        "pushed": {"version": "17", "folder": "/s/17"},
        "report": {},
    }  # fmt: skip


def test_a_rejected_model_and_why(tmp_path) -> None:
    run = run_of(
        Evaluator=("blessing", {"blessed": 0, "reason": "precision@1 0.5 < 0.7"}),
        Pusher=("pushed_model", {"pushed": 0}),
    )
    found = shown(tmp_path, run)
    assert found["metrics"] == {"blessed": 0}
    assert found["pushed"] == {"version": "none", "reason": "precision@1 0.5 < 0.7"}


def test_the_version_of_a_skipped_run_and_why_there_is_none(tmp_path) -> None:
    assert outputs_of(["ServedIndexResolver", "IndexUpdate", "UpdatePusher"]) == {
        "index_update": "Model"
    }
    given = {
        "outputs": {
            "outputFile": str(tmp_path / "out.json"),
            "artifacts": {"index_update": {"artifacts": [{"name": "x", "uri": "minio://b/x"}]}},
        }
    }

    def facts(run: PipelineRun) -> dict[str, str]:
        write_outputs(json.dumps(given), run)
        made = json.loads((tmp_path / "out.json").read_text())
        return made["artifacts"]["index_update"]["artifacts"][0]["metadata"]

    pushed = {"pushed": 1, "pushed_version": "18", "pushed_destination": "/s/18"}
    run = run_of(UpdatePusher=("pushed_model", pushed))
    assert facts(run) == {"version": "18", "folder": "/s/18"}
    trained = run_of(Pusher=("pushed_model", pushed))
    assert facts(trained) == {"version": "none", "reason": "the span is trained on"}


@pytest.mark.parametrize("there", [True, False])
def test_the_report_is_copied_where_kubeflow_takes_it(tmp_path, there: bool) -> None:
    (tmp_path / "report.html").write_text("<h1>digits</h1>")
    run = run_of(ReportGen=("report", {"uri": str(tmp_path)})) if there else run_of()
    target = tmp_path / "minio" / "report"
    shown(tmp_path, run, report_path=str(target))
    assert target.exists() is there
    if there:
        assert target.read_text() == "<h1>digits</h1>"
        (tmp_path / "report.html").unlink()
        shown(tmp_path, run, report_path=str(target))  # which is no reason to fail
