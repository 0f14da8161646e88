"""What is written as TOML is read as it was."""

from __future__ import annotations

import doctest
import tomllib

from hypothesis import given, strategies as st

from pipeline.config.loading import CONFIGS
from pipeline.operations import tuning_file
from pipeline.operations.tuning_file import to_toml

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    TEXTS | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False) | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES))
def test_any_tables_are_read_as_they_were(tables):
    assert tomllib.loads(to_toml(tables)) == tables


def test_ready_configurations_are_read_as_they_were():
    for path in CONFIGS.glob("*.toml"):
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        assert tomllib.loads(to_toml(values)) == values


def test_example():
    assert doctest.testmod(tuning_file).failed == 0
