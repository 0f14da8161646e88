"""Nodes launched one by one on a local database: what became of each comes as a value."""

from __future__ import annotations

import shutil
from pathlib import Path

import ml_metadata as mlmd
import pytest
import tensorflow as tf
from ml_metadata.proto import metadata_store_pb2 as proto
from tfx import types
from tfx.components import ImportExampleGen
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.dsl.compiler import compiler, constants
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import runtime_parameter_utils
from tfx.types import Channel, standard_artifacts

from components.image_example_gen import given_splits, hash_split
from components.record_example_gen import RecordExampleGen
from components.statistics_gen import StatisticsGen
from modules.contract import make_example
from pipeline.config import parse_config
from pipeline.launch import launch_from_cache, launch_node
from pipeline.local_runner import LocalRunner
from pipeline.metadata import find_execution, latest_run
from pipeline.runtime import NodeFailedError
from pipeline.schema import SCHEMA_FILE, statistics_options
from tests.real_data import digits


class BrokenStrategy(ResolverStrategy):
    """Fails."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        raise ValueError("no such span")


def broken_resolver() -> Resolver:
    return Resolver(
        strategy_class=BrokenStrategy, model=Channel(type=standard_artifacts.Model)
    ).with_id("Broken")


class Local:
    """A pipeline of some nodes on a database of its own."""

    def __init__(self, folder: Path, *components) -> None:
        self.database = metadata.sqlite_metadata_connection_config(str(folder / "metadata.sqlite"))
        self.ir = compiler.Compiler().compile(
            Pipeline(
                "p",
                str(folder / "artifacts"),
                components=list(components),
                enable_cache=True,
                metadata_connection_config=self.database,
            )
        )

    def launch(self, node: str, run_id: str) -> str:
        runtime_parameter_utils.substitute_runtime_parameter(
            self.ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        return launch_node(self.ir, node, metadata.Metadata(self.database)).outcome

    def from_cache(self, node: str, run_id: str) -> str | None:
        runtime_parameter_utils.substitute_runtime_parameter(
            self.ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id}
        )
        launched = launch_from_cache(self.ir, node, metadata.Metadata(self.database))
        return launched and launched.outcome

    def execution(self, node: str, run_id: str) -> proto.Execution:
        found = find_execution(mlmd.MetadataStore(self.database), "p", run_id, node)
        assert found is not None
        return found


def test_executed_cached_and_done_before(tmp_path) -> None:
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    outcomes = [local.launch("ImportSchemaGen", run) for run in ("one", "one")]
    assert outcomes == ["executed", "done before"]
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    assert local.launch("ImportSchemaGen", "two") == "cached"


@pytest.mark.parametrize("damage", ["cut", "longer", "missing", "more", "no folder"])
def test_a_cached_artifact_whose_files_have_changed_is_made_again(tmp_path, caplog, damage) -> None:
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    local.launch("ImportSchemaGen", "one")
    again = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    assert again.launch("ImportSchemaGen", "again") == "cached"
    (schema,) = tmp_path.rglob("schema.pbtxt")
    content = schema.read_bytes()
    {
        "cut": lambda: schema.write_bytes(content[:-1]),
        "longer": lambda: schema.write_bytes(content + b"\n"),
        "missing": schema.unlink,
        "more": lambda: schema.with_name("more").touch(),
        "no folder": lambda: shutil.rmtree(schema.parent),
    }[damage]()
    for run, expected in (("two", "executed"), ("three", "cached")):
        local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
        assert local.from_cache("ImportSchemaGen", run) == (expected if run == "three" else None)
        if run == "two":
            assert local.launch("ImportSchemaGen", run) == "executed"
    if damage != "no folder":  # TFX looks for that itself
        fault = f"{schema.parent} has changed since it was written: it had 1 file, "
        # Once by each that asks the cache, although two executions have the artifact.
        assert caplog.text.count(fault) == 2
    made = [path for path in tmp_path.rglob("schema.pbtxt") if path.parent != schema.parent]
    assert [path.read_bytes() for path in made] == [content]


def test_an_artifact_of_an_older_version_is_taken_as_it_is(tmp_path) -> None:
    """Nobody has noted its files."""
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    local.launch("ImportSchemaGen", "one")
    store = mlmd.MetadataStore(local.database)
    (artifact,) = store.get_artifacts()
    assert artifact.custom_properties["files"].string_value.startswith("1 file, ")
    artifact.custom_properties["files"].string_value = ""
    store.put_artifacts([artifact])
    (schema,) = tmp_path.rglob("schema.pbtxt")
    schema.write_text("")
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    assert local.launch("ImportSchemaGen", "two") == "cached"


def test_what_the_cache_does_not_have_is_left_to_be_taken_up(tmp_path) -> None:
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    assert local.from_cache("ImportSchemaGen", "one") is None
    left = local.execution("ImportSchemaGen", "one")
    assert left.last_known_state == proto.Execution.RUNNING
    assert not [path for path in (tmp_path / "artifacts").rglob("*") if path.is_file()]
    assert not list(tmp_path.rglob(".temp"))
    assert local.launch("ImportSchemaGen", "one") == "executed"
    assert local.execution("ImportSchemaGen", "one").id == left.id
    assert local.from_cache("ImportSchemaGen", "one") == "done before"
    again = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    assert again.from_cache("ImportSchemaGen", "two") == "cached"


def test_a_node_that_fails_and_one_without_cache_are_left(tmp_path) -> None:
    local = Local(tmp_path, broken_resolver())
    assert local.from_cache("Broken", "one") is None
    failed = local.execution("Broken", "one")
    assert "no such span" in failed.custom_properties["error"].string_value
    with pytest.raises(NodeFailedError, match=r"Broken failed: its inputs .*: no such span"):
        local.launch("Broken", "one")
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    local.ir.nodes[0].pipeline_node.execution_options.caching_options.enable_cache = False
    assert local.from_cache("ImportSchemaGen", "two") is None
    assert find_execution(mlmd.MetadataStore(local.database), "p", "two", "ImportSchemaGen") is None


def test_an_executor_that_fails(tmp_path) -> None:
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(tmp_path / "missing.pbtxt")))
    with pytest.raises(NodeFailedError, match=r"ImportSchemaGen failed: .*missing\.pbtxt") as info:
        local.launch("ImportSchemaGen", "one")
    assert info.value.__cause__ is not None
    failed = local.execution("ImportSchemaGen", "one")
    assert failed.last_known_state == proto.Execution.FAILED
    assert "missing.pbtxt" in failed.custom_properties["error"].string_value


def test_a_driver_that_fails(tmp_path) -> None:
    local = Local(tmp_path, ImportExampleGen(input_base=str(tmp_path / "nothing")))
    with pytest.raises(NodeFailedError, match="ImportExampleGen failed"):
        local.launch("ImportExampleGen", "one")
    failed = local.execution("ImportExampleGen", "one")
    assert failed.last_known_state == proto.Execution.FAILED
    assert failed.custom_properties["error"].string_value


def test_inputs_that_cannot_be_resolved(tmp_path) -> None:
    local = Local(tmp_path, broken_resolver())
    with pytest.raises(NodeFailedError, match=r"Broken failed: its inputs .*: no such span"):
        local.launch("Broken", "one")
    failed = local.execution("Broken", "one")
    assert failed.last_known_state == proto.Execution.FAILED
    assert "no such span" in failed.custom_properties["error"].string_value


def test_a_node_that_is_not_there(tmp_path) -> None:
    local = Local(tmp_path, ImportSchemaGen(schema_file=str(SCHEMA_FILE)))
    with pytest.raises(NodeFailedError, match=r"no node 'Other' in this run.*ImportSchemaGen"):
        local.launch("Other", "one")


def test_nothing_runs_after_a_node_that_fails(tmp_path: Path) -> None:
    config = parse_config(
        {"pipeline": {"name": "p", "directory": str(tmp_path)}, "data": {"path": str(tmp_path)}},
        "test",
    )
    after = Importer(str(tmp_path), standard_artifacts.Model).with_id("After")
    broken = broken_resolver()
    after.add_upstream_node(broken)
    Path(config.pipeline.metadata).parent.mkdir()
    pipeline = Pipeline(
        "p",
        config.pipeline.root,
        components=[broken, after],
        metadata_connection_config=metadata.sqlite_metadata_connection_config(
            config.pipeline.metadata
        ),
    )
    with pytest.raises(NodeFailedError, match=r"Broken failed: its inputs .*: no such span"):
        LocalRunner(config).run(pipeline)
    run = latest_run(config)
    assert [node.node for node in run.nodes] == ["Broken"]
    assert run.failed is not None
    assert "no such span" in str(run.failed.error)


def test_a_node_that_fails_names_inputs_whose_files_have_changed(tmp_path) -> None:
    """After the cache was asked: nothing makes them again in this run."""
    (tmp_path / "data").mkdir()
    with tf.io.TFRecordWriter(str(tmp_path / "data" / "all.tfrecord")) as writer:
        for row in digits(4):
            writer.write(make_example(*row).SerializeToString())
    examples = RecordExampleGen(str(tmp_path / "data"), given_splits({"all": "*"}), hash_split(0.3))
    statistics = StatisticsGen(examples.outputs["examples"], statistics_options())
    local = Local(tmp_path, examples, statistics)
    assert local.launch(examples.id, "one") == "executed"
    file = next((tmp_path / "artifacts").rglob("Split-train/*"))
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(NodeFailedError, match=r"Its inputs have changed on the disk: .*examples/1"):
        local.launch(statistics.id, "one")
    reason = local.execution(statistics.id, "one").custom_properties["error"].string_value
    assert "has changed since it was written" in reason
