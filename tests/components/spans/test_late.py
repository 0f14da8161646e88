"""Spans that come too late: said, read or refused, as is asked, by real runs of ExampleGen."""

from __future__ import annotations

import pytest
from absl import logging
from hypothesis import given, strategies as st

from components.spans import late_spans
from tests.components.spans.span_runs import Runs, images

VERSIONS = st.none() | st.integers(0, 3)


@pytest.fixture
def runs(tmp_path) -> Runs:
    """Two days were read, then one between them arrives."""
    runs = Runs(tmp_path, images("span-{SPAN}/*/*"))
    for span in (1, 3):
        runs.arrives(f"span-{span}", start=span)
        assert runs.run() == (span, "COMPLETE")
    runs.arrives("span-2", start=2)
    return runs


def test_by_default_it_is_left_out_and_said(runs: Runs, caplog) -> None:
    logging.get_absl_logger().propagate = True
    assert runs.run() == (3, "CACHED")
    assert "span-2/*/* in " in caplog.text
    assert "arrived after a later span was read" in caplog.text


def test_it_is_read_once_and_the_cache_of_the_others_is_kept(runs: Runs) -> None:
    runs._node = images("span-{SPAN}/*/*", late_spans="read")
    runs.arrives("span-4", start=4)
    read = [runs.run() for _ in range(3)]
    # What to do with late spans is not in the key: the last span is still cached.
    assert read == [(2, "COMPLETE"), (4, "COMPLETE"), (4, "CACHED")]


def test_it_fails_the_run_if_it_should(runs: Runs) -> None:
    runs._node = images("span-{SPAN}/*/*", late_spans="fail")
    with pytest.raises(ValueError, match=r"span-2/\*/\* in .* arrived after a later span was read"):
        runs.run()
    # Nothing was tried, so the same is said again.
    with pytest.raises(ValueError, match="late_spans"):
        runs.run()


def test_a_new_version_of_an_older_span_is_late_too(tmp_path, caplog) -> None:
    logging.get_absl_logger().propagate = True
    runs = Runs(tmp_path, images("span-{SPAN}/v{VERSION}/*/*"))
    for span in (1, 2):
        runs.arrives(f"span-{span}/v1", start=span)
        assert runs.run() == (span, "COMPLETE")
    runs.arrives("span-1/v2", start=5)
    assert runs.run() == (2, "CACHED")
    assert "span-1/v2/*/* in " in caplog.text
    runs._node = images("span-{SPAN}/v{VERSION}/*/*", late_spans="read")
    assert runs.run() == (1, "COMPLETE")
    assert runs.artifact(runs.executions()[-1]).custom_properties["version"].int_value == 2
    assert runs.run() == (2, "CACHED")


@given(
    found=st.dictionaries(st.integers(0, 9), st.sets(VERSIONS, min_size=1)),
    tried=st.dictionaries(st.integers(0, 9), VERSIONS),
)
def test_late_is_what_is_there_before_the_last_and_was_not_tried(found, tried) -> None:
    late = []
    for span in range(10):
        before_the_last = any(span < other for other in tried)
        if span in found and before_the_last:
            newest = max(found[span], key=lambda v: -1 if v is None else v)
            known = tried.get(span)
            if span not in tried or (newest is not None and (known is None or newest > known)):
                late.append(span)
    assert late_spans(found, tried) == late
