"""The commands where the files are not on this machine: a bucket, and a volume not mounted here."""

from __future__ import annotations

import json
import uuid

import pytest
from ml_metadata.proto import metadata_store_pb2 as proto

from pipeline.metadata import connect_store
from pipeline.runtime import ConfigError
from tests.e2e.cluster_commands import Commands


def test_a_bucket_and_a_volume_that_this_machine_does_not_see(metadata_url, tmp_path) -> None:
    name = f"commands-{uuid.uuid4().hex[:8]}"
    cluster = Commands(tmp_path / "config.toml", name, tmp_path / "volume", metadata_url)

    def configure(directory: str) -> None:
        cluster.config.write_text(f"""
[pipeline]
name = "{name}"
[data]
path = "{directory}/data"
split = "hash"
[kubeflow]
directory = "{directory}"
metadata = "{metadata_url}"
""")

    store = connect_store(metadata_url)
    kinds = {
        name: store.put_context_type(proto.ContextType(name=name))
        for name in ("pipeline", "pipeline_run", "node")
    }
    model = proto.Artifact(
        type_id=store.put_artifact_type(proto.ArtifactType(name="ModelEvaluation")),
        uri="gs://no-such-bucket-of-ours/evaluation", state=proto.Artifact.LIVE,
    )  # fmt: skip
    made = proto.Event(type=proto.Event.OUTPUT)
    made.path.steps.add().key = "evaluation"
    names = {"pipeline": cluster.name, "pipeline_run": cluster.name + "-1",
             "node": cluster.name + ".Evaluator"}  # fmt: skip
    store.put_execution(
        proto.Execution(
            type_id=store.put_execution_type(proto.ExecutionType(name="Evaluator")),
            last_known_state=proto.Execution.COMPLETE,
        ),
        [(model, made)],
        [proto.Context(type_id=kinds[kind], name=name) for kind, name in names.items()],
        reuse_context_if_already_exist=True,
    )
    configure("gs://no-such-bucket-of-ours")
    found = json.loads(cluster.call("summary", "--json"))
    assert found["evaluation"] is None
    assert "gs://no-such-bucket-of-ours/evaluation/evaluation.json" in found["problems"][0]
    cluster.call("summary")
    cluster.call("history")
    with pytest.raises(ConfigError, match="gc works on local folders"):
        cluster.call("gc")

    configure(str(tmp_path / "not-mounted"))
    for command in (["rollback"], ["gc"], ["gc", "--delete"]):
        with pytest.raises(ConfigError, match="does not see the volume of the cluster"):
            cluster.call(*command)
    assert not (tmp_path / "not-mounted").exists()
