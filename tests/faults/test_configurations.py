"""Configurations that nothing could run: all are told with their key before the first node."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.contract import make_example
from pipeline.config import Config, load_config, parse_config
from pipeline.features import check_features
from pipeline.runtime import ConfigError, ExitCode
from tests.real_data import digits

BASE = {"pipeline": {"name": "mine", "directory": "x"}, "data": {"path": "x"}}
SCHEMA = Config.model_json_schema()
# A number or a day; the pattern of the data decides which, and what of it can be.
FREE = {"data.evaluation_span"}


def numbers(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every place of the configuration that takes a number, as its JSON schema has it."""
    if "$ref" in node:
        yield from numbers(SCHEMA["$defs"][node["$ref"].rpartition("/")[2]], path)
    for one in node.get("anyOf", []):
        yield from numbers(one, path)
    if node.get("type") in ("integer", "number") and "enum" not in node:
        yield path, node
    for key, child in node.get("properties", {}).items():
        yield from numbers(child, f"{path}.{key}".lstrip("."))
    if "items" in node:
        yield from numbers(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from numbers(node["additionalProperties"], f"{path}.*")


NUMBERS = list(numbers(SCHEMA))


def with_key(path: str, value: object) -> dict[str, Any]:
    tables = copy.deepcopy(BASE)
    *folders, key = path.split(".")
    place: dict[str, Any] = tables
    for folder in folders:
        place = place.setdefault(folder, {})
    place[key] = value
    return tables


def test_the_walk_finds_the_numbers() -> None:
    """Otherwise the tests below would pass on nothing."""
    found = {path for path, _ in NUMBERS}
    assert len(found) > 100
    assert {"training.seed", "evaluation.ks[]", "evaluation.thresholds.*.lower"} <= found


@pytest.mark.parametrize("end", ["least", "largest"])
def test_every_number_has_a_least_and_a_largest_value(end: str) -> None:
    keys = {"least": ("minimum", "exclusiveMinimum"), "largest": ("maximum", "exclusiveMaximum")}
    assert not [path for path, node in NUMBERS if not set(keys[end]) & node.keys()]


@pytest.mark.parametrize(
    "path", sorted({p for p, _ in NUMBERS if p.count(".") == 1 and "[" not in p} - FREE)
)
def test_what_is_beyond_is_told_with_its_key(path: str) -> None:
    for value in (10**30, -(10**30), math.inf, -math.inf, math.nan):
        with pytest.raises(ConfigError, match=path.replace(".", r"\.")):
            parse_config(with_key(path, value), "mine.toml")


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("evaluation.ks", [10**9], r"evaluation\.ks\.0: .*less than or equal to 10000"),
        ("training.seed", 2**32, r"training\.seed: "),
        ("triplets.seed", 2**32, r"triplets\.seed: "),
        ("training.steps", 2**40, r"training\.steps: "),
        ("training.batch_size", 10**9, r"training\.batch_size: "),
        ("evaluation.gallery_split", "nope", r"gallery_split is 'nope', expected"),
        ("evaluation.slice_by", ["nope"], r"slice_by .*nope.* schema of the data contract lacks"),
        ("data.eval_fraction", 0.0001, r"data\.eval_fraction: .*0\.001"),
        ("pipeline.name", "a" * 64, r"pipeline\.name: .*at most 63"),
        ("retraining.log_megabytes", math.inf, r"retraining\.log_megabytes: "),
        ("pipeline.directory", "/a\nb", r"pipeline\.directory: .*control character"),
        ("pipeline.serving", "/a\x1b[31mb", r"pipeline\.serving: .*control character"),
        ("data.path", "/a\0b", r"data\.path: .*control character"),
        ("evaluation.thresholds", {"precision@1": {"lower": 1.5}}, r"precision@1\.lower is 1\.5"),
        ("evaluation.thresholds", {"precision@1": {"upper": -0.5}}, r"precision@1\.upper is -0"),
        ("evaluation.thresholds", {"map@r": {"max_drop": 1.5}}, r"map@r\.max_drop is 1\.5"),
        ("evaluation.thresholds", {"map@r": {"no_worse": 2.0}}, r"map@r\.no_worse is 2"),
        ("evaluation.slice_thresholds", {"label": {"map@r": {"lower": 2.0}}}, r"map@r\.lower is 2"),
    ],
)
def test_what_no_run_could_do(path: str, value: object, says: str) -> None:
    tables = with_key(path, value)
    if path == "data.eval_fraction":
        tables["data"]["split"] = "hash"
    with pytest.raises(ConfigError, match=says) as raised:
        parse_config(tables, "mine.toml")
    assert raised.value.exit_code is ExitCode.USAGE
    assert "\x1b" not in str(raised.value)


def test_a_file_that_begins_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('[pipeline]\nname = "mine"\n[data]\npath = "x"\n', encoding="utf-8-sig")
    assert load_config(str(path)).pipeline.name == "mine"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
KEYS = [
    f"{table}.{key}"
    for table, field in Config.model_fields.items()
    for key in getattr(field.annotation, "model_fields", {})
    if key not in ("loss", "mining")  # may name code, which would be imported
]


@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(KEYS), VALUES, min_size=1, max_size=3))
def test_whatever_stands_in_a_table_the_answer_is_a_configuration_or_a_message(values) -> None:
    tables = copy.deepcopy(BASE)
    for path, value in values.items():
        table, _, key = path.partition(".")
        tables.setdefault(table, {})[key] = value
    try:
        parse_config(tables, "mine.toml")
    except ConfigError as error:
        assert str(error).startswith("mine.toml cannot be used:\n")  # noqa: PT017 — either is right


@settings(max_examples=200)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8")))
def test_whatever_stands_in_a_file(tmp_path_factory, content) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"fuzzed\.toml"):
        load_config(str(path))  # two tables are required, which none of these has


def evaluated_by(root: Path, data: dict, *features: str) -> Config:
    return parse_config(
        {
            "pipeline": {"name": "mine", "directory": str(root)},
            "data": {"path": str(root), "split": "hash", **data},
            "evaluation": {"slice_by": ["label", *features]},
        },
        "mine.toml",
    )


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_column_that_no_sheet_has_is_told_before_the_first_node(tmp_path, kind) -> None:
    table = pd.DataFrame({"path": ["1.png"], "label": ["cat"], "camera": ["a"]})

    def write(name: str, table: pd.DataFrame) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)

    write(f"1.{kind}", table)
    check_features(evaluated_by(tmp_path, {"format": kind}, "camera", "label"))
    for lacks in ("night", "path"):  # where the image is, is no feature of it
        with pytest.raises(ConfigError, match=rf"have {lacks}, but .*1\.{kind} has only") as raised:
            check_features(evaluated_by(tmp_path, {"format": kind}, "camera", lacks))
        assert raised.value.exit_code is ExitCode.USAGE
    # One of several sheets has it.
    write(f"2.{kind}", table.rename(columns={"camera": "night"}))
    check_features(evaluated_by(tmp_path, {"format": kind}, "camera", "night"))
    # Of spans the latest one counts, and a sheet that is broken is for its node to tell.
    spans = {"format": kind, "pattern": f"day-{{SPAN}}/*.{kind}"}
    check_features(evaluated_by(tmp_path, spans, "night"))
    write(f"day-9/1.{kind}", table)
    write(f"day-10/1.{kind}", table.rename(columns={"camera": "night"}))
    check_features(evaluated_by(tmp_path, spans, "night"))
    with pytest.raises(ConfigError, match=r"have camera, but .*day-10"):
        check_features(evaluated_by(tmp_path, spans, "camera"))
    (tmp_path / "day-10" / f"1.{kind}").write_bytes(b"\xff\xff")
    check_features(evaluated_by(tmp_path, spans, "camera"))


def test_a_feature_that_no_record_has_is_told_before_the_first_node(tmp_path) -> None:
    records = {"schema_file": "inferred"}
    check_features(evaluated_by(tmp_path, records, "night"))  # nothing is there
    with tf.io.TFRecordWriter(str(tmp_path / "1.tfrecord")) as writer:
        for number, row in enumerate(digits(1)):
            example = make_example(*row)
            if number == 3:  # of the others it is not known
                example.features.feature["night"].int64_list.value[:] = [1]
            writer.write(example.SerializeToString())
    check_features(evaluated_by(tmp_path, records, "night"))
    with pytest.raises(ConfigError, match=r"have camera, but .* records id, image, label, night"):
        check_features(evaluated_by(tmp_path, records, "night", "camera"))
