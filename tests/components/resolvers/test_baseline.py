"""Which model is the baseline, from lists of artifacts as the metadata store returns them."""

from __future__ import annotations

import ml_metadata as mlmd
import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.components.evaluator import constants
from tfx.types import standard_artifacts

from components.resolvers.baseline import LatestBlessedBaselineStrategy


def model(model_id: int) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.id = model_id
    return artifact


def blessing(model_id: int, blessed: int) -> standard_artifacts.ModelBlessing:
    artifact = standard_artifacts.ModelBlessing()
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model_id)
    artifact.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, blessed)
    return artifact


@pytest.mark.parametrize(
    ("candidate", "verdicts", "expected"),
    [
        (1, {}, None),  # the first run
        (1, {1: 1}, None),  # the first run again: the candidate is the only blessed model
        (2, {1: 1}, 1),
        (2, {1: 1, 2: 1}, 1),  # again, after the candidate was blessed
        (3, {1: 1, 2: 0}, 1),  # a refused model is no baseline
        (3, {1: 0, 2: 0}, None),
        (1, {1: 1, 2: 1}, 2),  # back to an older configuration: the newer model must be beaten
    ],
)
def test_baseline_is_the_latest_blessed_model_other_than_the_candidate(
    candidate: int, verdicts: dict[int, int], expected: int | None
) -> None:
    connection = metadata_store_pb2.ConnectionConfig()
    connection.fake_database.SetInParent()
    resolved = LatestBlessedBaselineStrategy().resolve_artifacts(
        mlmd.MetadataStore(connection),
        {
            "model": [model(number) for number in (1, 2, 3)],
            "model_blessing": [blessing(*verdict) for verdict in verdicts.items()],
            "candidate": [model(candidate)],
        },
    )
    assert [artifact.id for artifact in resolved["model"]] == ([expected] if expected else [])
    assert [artifact.id for artifact in resolved["candidate"]] == [candidate]
