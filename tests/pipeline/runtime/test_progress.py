"""A local run ends at the first node that fails, in whatever way."""

from __future__ import annotations

from pathlib import Path

import ml_metadata as mlmd
import pytest
from tfx import types
from tfx.dsl.components.common.importer import Importer
from tfx.dsl.components.common.resolver import Resolver, ResolverStrategy
from tfx.orchestration import metadata
from tfx.orchestration.pipeline import Pipeline
from tfx.types import Channel, standard_artifacts

from pipeline.config import parse_config
from pipeline.local_runner import ProgressRunner
from pipeline.metadata import latest_run
from pipeline.runtime.progress import UnresolvedError


class BrokenStrategy(ResolverStrategy):
    """Fails."""

    def resolve_artifacts(
        self, store: mlmd.MetadataStore, input_dict: dict[str, list[types.Artifact]]
    ) -> dict[str, list[types.Artifact]]:
        raise ValueError("no such span")


def test_nothing_runs_after_a_resolver_that_fails(tmp_path: Path) -> None:
    config = parse_config(
        {"pipeline": {"name": "p", "directory": str(tmp_path)}, "data": {"path": str(tmp_path)}},
        "test",
    )
    broken = Resolver(
        strategy_class=BrokenStrategy, model=Channel(type=standard_artifacts.Model)
    ).with_id("Broken")
    after = Importer(str(tmp_path), standard_artifacts.Model).with_id("After")
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
    with pytest.raises(UnresolvedError, match=r"Broken has no inputs: no such span"):
        ProgressRunner(config, lambda: None).run(pipeline)
    run = latest_run(config)
    assert [node.node for node in run.nodes] == ["Broken"]
    assert run.failed is not None
    assert "no such span" in str(run.failed.error)
