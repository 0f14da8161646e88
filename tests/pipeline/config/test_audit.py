"""`[audit]` and what depends on it: keys without effect are told."""

from __future__ import annotations

import pytest

from pipeline.config import parse_config
from pipeline.runtime import ConfigError

MINIMAL = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}}
MINED = {"strategy": "hard"}


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        ({"audit": {"enabled": False, "listed": 3}}, "enabled = false, so listed has no effect"),
        ({"audit": {"use_model": False, "model_images": 50}}, "model_images has no effect with"),
        ({"audit": {"max_leaked": 1.5}}, r"audit\.max_leaked: .*less than or equal to 1"),
        ({"triplets": {"suspects": "keep"}}, "suspects = 'keep' has no effect with strategy"),
        (
            {"audit": {"enabled": False}, "triplets": {**MINED, "suspects": "leave_out"}},
            r"triplets\.suspects has no effect with audit\.enabled = false",
        ),
    ],
)
def test_a_key_without_effect_or_out_of_range_is_told(tables, message) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(MINIMAL | tables, "the test")


def test_a_share_of_0_and_1_and_suspects_of_mined_negatives_are_allowed() -> None:
    audit = {"max_leaked": 0.0, "max_conflicting": 1.0}
    config = parse_config(MINIMAL | {"audit": audit, "triplets": {**MINED, "suspects": "keep"}}, "")
    assert (config.audit.max_leaked, config.triplets.heeds_suspects) == (0.0, False)
