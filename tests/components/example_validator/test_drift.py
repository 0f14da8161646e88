"""Drift and skew through the real executors of StatisticsGen and ExampleValidator."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from hypothesis import given, strategies as st
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import standard_artifacts

from components.example_validator.class_changes import ClassChanges
from modules.contract import make_example
from modules.settings import DriftThresholds, ValidationSettings
from pipeline.schema import contract_schema
from tests.components.example_validator.validation_nodes import (
    make_statistics,
    redrawn,
    validate_statistics,
)
from tests.real_data import digits, examples_artifact

NEXT = digits(25, start=25)
SPLITS = {
    "ten": digits(25),  # 250 digits, 25 of each class
    "next": NEXT,  # others
    "large": digits(100, start=50),
    "hundred": digits(10, start=150),
    "eight": digits(25, classes=range(8)),
    "only-new": digits(60, classes=(8, 9)),
    "inverted": redrawn(NEXT, lambda pixels: 255 - pixels),
    "dark": redrawn(NEXT, lambda pixels: pixels // 2),
    "few-inverted": redrawn(digits(9, start=25), lambda pixels: 255 - pixels),  # 90 digits
    # 3 from 1/8 to 150/300, 8 is new and 0 has vanished.
    "many-threes": [
        *digits(150, classes=[3]),
        *digits(20, classes=(1, 2, 4, 5, 6, 7)),
        *digits(30, classes=[8]),
    ],
    "held-out": digits(60, classes=(1, 6)),  # 1 is the digit with the least ink
    "rest": digits(25, classes=(0, 2, 3, 4, 5, 7, 8, 9)),
    "uneven": [*digits(8, classes=[0]), *digits(42, classes=[1])],
    "empty": [],
}


@dataclasses.dataclass
class Spans:
    """Statistics of many splits, made in one go, to put together as those of spans."""

    statistics: standard_artifacts.ExampleStatistics
    folder: Path

    def span(self, number: int, **splits: str) -> standard_artifacts.ExampleStatistics:
        """The statistics of a span whose splits are these."""
        artifact = standard_artifacts.ExampleStatistics()
        artifact.uri = str(self.folder / f"{number}-{'-'.join(splits.values())}")
        artifact.split_names, artifact.span = json.dumps(list(splits)), number
        for name, source in splits.items():
            shutil.copytree(
                Path(self.statistics.uri, f"Split-{source}"),
                Path(artifact.uri, f"Split-{name}"),
                dirs_exist_ok=True,
            )
        return artifact

    def compare(self, before: str, now: str, folder: Path, schema=None, **settings):
        """Validates `now` as the train split of span 2 after `before` of span 1."""
        return validate_statistics(
            self.span(2, train=now),
            folder,
            previous=self.span(1, train=before),
            schema=schema,
            **settings,
        )[0]


@pytest.fixture(scope="module")
def spans(tmp_path_factory) -> Spans:
    folder = tmp_path_factory.mktemp("spans")
    examples = examples_artifact(folder / "examples", SPLITS)
    # A feature that the contract does not have.
    shard = folder / "examples" / "Split-with-camera" / "data_tfrecord-00000-of-00001.gz"
    shard.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
        for number, row in enumerate(digits(25)):
            example = make_example(*row)
            if number % 2:
                example.features.feature["camera"].bytes_list.value.append(b"left")
            writer.write(example.SerializeToString())
    examples.split_names = json.dumps([*SPLITS, "with-camera"])
    return Spans(make_statistics(folder, examples), folder)


def with_comparator(name: str, threshold: float) -> schema_pb2.Schema:
    schema = contract_schema()
    feature = next(feature for feature in schema.feature if feature.name == name)
    feature.drift_comparator.infinity_norm.threshold = threshold
    return schema


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ("ten", "next"),
        ("next", "ten"),
        ("ten", "large"),
        ("large", "hundred"),
        ("hundred", "ten"),
        ("eight", "next"),  # two new classes
        ("eight", "only-new"),  # nothing but new classes
        ("ten", "few-inverted"),  # fewer than min_examples
    ],
)
def test_ordinary_spans_and_new_classes_pass(spans, tmp_path, before, now):
    anomalies = spans.compare(before, now, tmp_path)
    assert anomalies.get_json_value_custom_property("blessed") == {"train": 1}
    assert anomalies.get_int_custom_property("previous_span") == 1


def test_what_was_measured_is_kept(spans, tmp_path):
    anomalies = spans.compare("eight", "next", tmp_path)
    assert anomalies.span == 2
    drift = anomalies.get_json_value_custom_property("drift")["train"]
    assert set(drift) == {"label", "image/brightness", "image/contrast"}
    # 250 now, 200 of them of known classes, 25 each; p_c = 1/8: |25 − 200/8| / 250 = 0.
    assert drift["label"] == 0
    assert 0 < drift["image/brightness"] < 0.1
    assert anomalies.get_string_custom_property("new_classes") == "8, 9"
    assert not anomalies.has_custom_property("vanished_classes")


def test_a_class_that_moved_to_another_split_is_neither_new_nor_vanished(spans, tmp_path):
    anomalies, _ = validate_statistics(
        spans.span(2, train="eight", eval="held-out"),
        tmp_path,
        previous=spans.span(1, train="rest", eval="held-out"),
    )
    # 1 and 6 were in eval alone, 8 and 9 in train.
    assert not anomalies.has_custom_property("new_classes")
    assert anomalies.get_string_custom_property("vanished_classes") == "8, 9"


@pytest.mark.parametrize(
    ("now", "feature"), [("inverted", "image/brightness"), ("dark", "image/contrast")]
)
def test_other_pixels_are_drift(spans, tmp_path, now, feature):
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        spans.compare("ten", now, tmp_path)
    message = str(error.value)
    assert f"split 'train', feature '{feature}': High approximate Jensen-Shannon" in message
    assert "Here mean 0." in message
    assert "above the threshold 0.25" in message
    assert message.endswith(
        "Previous span: 1. If the change is wanted, raise the threshold of drift or skew until the "
        "span has passed."
    )


def test_drift_of_the_label_names_the_classes(spans, tmp_path):
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        spans.compare("eight", "many-threes", tmp_path)
    finding = str(error.value).splitlines()[1]
    assert finding.startswith("  split 'train', feature 'label': High Linfty distance")
    # 270 of 300 are of known classes: |150 − 270/8| / 300 = 0.3875.
    assert f"is {abs(150 - 270 / 8) / 300}" in finding
    assert "Changed most: '3' 12.5% → 50.0%, '0' 12.5% → 0.0%, '1' 12.5% → 6.7%" in finding
    assert "new: 8; vanished: 0." in finding
    assert len(str(error.value).splitlines()) == 3  # nothing else was found


def test_thresholds_can_be_left_out(spans, tmp_path):
    settings = ValidationSettings(drift=DriftThresholds(label=0, brightness=0.5, contrast=0))
    anomalies = spans.compare("eight", "many-threes", tmp_path, settings=settings)
    assert set(anomalies.get_json_value_custom_property("drift")["train"]) == {"image/brightness"}


def test_the_comparators_of_a_curated_schema_go_first(spans, tmp_path):
    spans.compare("eight", "many-threes", tmp_path, schema=with_comparator("label", 0.4))
    # 90 and 50 examples are fewer than min_examples, which is for the thresholds of the node alone.
    schema = with_comparator("label", 0.01)
    with pytest.raises(ValueError, match=f"is {42 / 50 - 9 / 90} .*, above the threshold 0.01"):
        spans.compare("few-inverted", "uneven", tmp_path, schema=schema)


def test_new_classes_are_anomalies_where_the_schema_lists_them(spans, tmp_path):
    schema = contract_schema()
    label = next(feature for feature in schema.feature if feature.name == "label")
    label.ClearField("unique_constraints")
    label.string_domain.value.extend("01234567")
    with pytest.raises(ValueError, match="feature 'label': Unexpected string values"):
        spans.compare("eight", "next", tmp_path, schema=schema)


def test_drift_against_an_inferred_schema(spans, tmp_path):
    statistics = stats_artifact_utils.load_statistics(spans.span(2, train="inverted"), "train")
    inferred = tfdv.infer_schema(statistics.proto())
    with pytest.raises(ValueError, match="image/brightness") as error:
        spans.compare("ten", "inverted", tmp_path, schema=inferred)
    assert len(str(error.value).splitlines()) == 3
    spans.compare("inverted", "inverted", tmp_path, schema=inferred)


def test_a_vanished_feature_is_an_anomaly_even_if_it_may_be_missing(spans, tmp_path):
    schema = contract_schema()
    schema.feature.add(name="camera", type=schema_pb2.BYTES)
    spans.compare("ten", "with-camera", tmp_path, schema=schema)
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        spans.compare("with-camera", "ten", tmp_path, schema=schema)
    assert str(error.value).splitlines()[1] == (
        "  split 'train', feature 'camera': Vanished. 125 of 250 examples of the previous span "
        "have this feature, none of this one has."
    )


def test_a_feature_of_the_examples_beyond_the_contract_is_still_an_anomaly(spans, tmp_path):
    with pytest.raises(ValueError, match="feature 'camera': New column"):
        spans.compare("ten", "with-camera", tmp_path)


def test_a_split_without_a_counterpart_is_not_compared(spans, tmp_path):
    anomalies, _ = validate_statistics(
        spans.span(2, train="ten"),
        tmp_path,
        previous=spans.span(1, other="inverted"),
    )
    assert anomalies.get_json_value_custom_property("drift") == {}
    spans.compare("empty", "ten", tmp_path)
    with pytest.raises(ValueError, match="split 'train', no example at all"):
        spans.compare("ten", "empty", tmp_path)


def test_skew_between_train_and_eval(spans, tmp_path):
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        validate_statistics(spans.span(1, train="ten", eval="inverted"), tmp_path)
    _, finding, last = str(error.value).splitlines()
    assert finding.startswith("  split 'train', feature 'image/brightness': High approximate")
    assert "above the threshold 0.6" in finding
    assert "Previous span" not in last


def test_held_out_classes_are_no_skew(spans, tmp_path):
    anomalies, _ = validate_statistics(spans.span(1, train="rest", eval="held-out"), tmp_path)
    skew = anomalies.get_json_value_custom_property("skew")
    assert set(skew) == {"train"}
    assert set(skew["train"]) == {"image/brightness", "image/contrast"}
    assert 0 < skew["train"]["image/brightness"] < 0.5


@given(
    previous=st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 50), min_size=1),
    current=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 50), min_size=1),
)
def test_new_classes_are_neutral(previous, current):
    changes = ClassChanges(current, previous)
    neutral = changes.neutral_to_new()
    total, before = sum(current.values()), sum(previous.values())
    assert set(neutral) == set(previous)
    np.testing.assert_allclose(sum(neutral.values()), total)
    known = sum(current.get(name, 0) for name in previous)
    for name, count in previous.items():
        distance = neutral[name] / total - count / before
        expected = (current.get(name, 0) - known * count / before) / total
        np.testing.assert_allclose(distance, expected, atol=1e-12)
    assert changes.new == sorted(set(current) - set(previous))
    assert changes.vanished == sorted(set(previous) - set(current))
