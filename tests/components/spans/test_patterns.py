"""Patterns of spans: what they find, against TFX's own notation."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given, strategies as st
from tfx.components.example_gen import utils
from tfx.proto import example_gen_pb2

from components.spans.patterns import SpanPattern, date_to_span

PATTERNS = [
    "span-{SPAN}/*/*",
    "{SPAN:4}/v{VERSION:2}/*.tfrecord",
    "*/{SPAN}.{VERSION}",
    "{YYYY}/{MM}/{DD}/[ab]?/*",
    "in (1)/{YYYY}{MM}{DD}-{VERSION}/*",
]


def filled(pattern: str, span: int, version: int) -> str:
    """The pattern as TFX fills it in."""
    kinds = utils.verify_split_pattern_specs(example_gen_pb2.Input.Split(pattern=pattern))
    return utils.get_pattern_for_span_version(pattern, *kinds, span, version)


@pytest.mark.parametrize("pattern", PATTERNS)
@given(span=st.integers(0, 9999), version=st.integers(0, 99))
def test_what_tfx_fills_in_is_found_again(pattern: str, span: int, version: int) -> None:
    parsed = SpanPattern.parse(pattern)
    folders = parsed.folders.count("/") + 1
    path = "/".join(filled(pattern, span, version).split("/")[:folders])
    path = path.replace("[ab]?", "a1").replace("*", "x")
    assert parsed.find(path) == (span, version if parsed.has_versions else None)


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("span-{SPAN}/*/*", "span-007"),  # {SPAN:3}
        ("span-{SPAN}/*/*", "span-7-draft"),
        ("span-{SPAN}/*/*", "span-7/cat"),
        ("span-{SPAN}/*/*", "span-٧"),  # a digit to int(), but not to TFX
        ("{SPAN:3}/*", "7"),
        ("{SPAN:3}/*", "0007"),
        ("{YYYY}-{MM}-{DD}/*", "2026-02-30"),
        ("{YYYY}-{MM}-{DD}/*", "2026-2-3"),
        ("{SPAN}.tfrecord", "7xtfrecord"),
        ("{SPAN}/v{VERSION}/*", "7/vx"),
    ],
)
def test_other_names_are_no_spans(pattern: str, path: str) -> None:
    assert SpanPattern.parse(pattern).find(path) is None


def test_a_day_counts_from_1970_as_in_tfx() -> None:
    day = datetime.date(2026, 2, 1)
    span = utils.date_to_span_number(2026, 2, 1)
    assert date_to_span(day) == span
    assert SpanPattern.parse("{YYYY}{MM}{DD}/*").find("20260201") == (span, None)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{SPAN}/{SPAN}/*", "more than once"),
        ("{SPAN}/{YYYY}-{MM}-{DD}/*", "both"),
        ("{YYYY}-{MM}/*", "not complete"),
        ("v{VERSION}/*", "of nothing"),
        ("{span}/*", "unknown placeholder {span}"),
        ("{SPAN:0}/*", "unknown placeholder"),
    ],
)
def test_wrong_patterns_are_refused(pattern: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SpanPattern.parse(pattern)


def test_a_plain_pattern_has_no_spans() -> None:
    parsed = SpanPattern.parse("train/*/*.png")
    assert not parsed.has_spans
    assert not parsed.has_dates
    assert not parsed.has_versions
