"""StatisticsGen through its real executor: what it measures of images."""

from __future__ import annotations

import io
import json

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
import tensorflow_data_validation as tfdv
from PIL import Image
from tensorflow_transform.tf_metadata import schema_utils
from tfx.components import StatisticsGen as TfxStatisticsGen
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.types import channel, standard_artifacts

from components.statistics_gen import IMAGE_FEATURES, StatisticsGen, executor
from components.statistics_gen.image_features import add_image_features, measure
from modules.contract import FEATURES
from pipeline.schema import statistics_options
from tests.components.example_validator.validation_nodes import load, make_statistics
from tests.real_data import digits, examples_artifact, png


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels, mode).save(buffer, kind)
    return buffer.getvalue()


def batch(**columns) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(values, pa.large_list(pa.large_binary())) for values in columns.values()],
        list(columns),
    )


def test_measures_of_a_known_image():
    # Half of the pixels black, half of them white: mean 1/2, deviation 1/2.
    half = np.repeat(np.array([[0, 255]], np.uint8), 6, axis=0)
    pixels, sizes, decoded = measure([png(half)])
    assert pixels.tolist() == [[0.5, 0.5]]
    assert sizes.tolist() == [[2, 6, 1]]  # width, height, channels
    assert decoded.tolist() == [True]


def test_alpha_is_no_brightness():
    black = np.zeros((4, 5, 4), np.uint8)
    black[..., 3] = 255
    grey = np.full((4, 5, 2), 51, np.uint8)
    grey[..., 1] = 255
    pixels, sizes, _ = measure([encoded(black, "PNG"), encoded(grey, "PNG", "LA")])
    np.testing.assert_allclose(pixels, [[0, 0], [51 / 255, 0]], atol=1e-6)
    assert sizes.tolist() == [[5, 4, 3], [5, 4, 1]]  # alpha is no channel that is seen


def test_jpegs_are_measured_as_they_decode():
    colours = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    image = encoded(colours, "JPEG")
    expected = tf.io.decode_image(image).numpy() / 255.0
    pixels, sizes, _ = measure([image])
    np.testing.assert_allclose(pixels, [[expected.mean(), expected.std()]], rtol=1e-5)
    assert sizes.tolist() == [[7, 9, 3]]


def test_what_cannot_be_decoded_does_not_hide_the_others():
    (good, *_), *_ = digits(1)
    pixels, _, decoded = measure([b"no image", good, b"", good[:60]])
    assert decoded.tolist() == [False, True, False, False]
    assert pixels[1].tolist() == measure([good])[0][0].tolist()


def test_examples_without_exactly_one_image_have_no_measures():
    (good, *_), *_ = digits(1)
    found = add_image_features(batch(image=[[good], None, [], [good, good], [b"no image"]]))
    for name, kind in IMAGE_FEATURES.items():
        column = found.column(found.schema.names.index(name))
        assert column.type == kind
        assert [value is not None for value in column.to_pylist()] == [True] + [False] * 4


def test_batches_without_encoded_images_stay_as_they_are():
    labels = batch(label=[[b"7"]])
    assert add_image_features(labels) is labels
    numbers = pa.RecordBatch.from_arrays([pa.array([[1]])], ["image"])
    assert add_image_features(numbers) is numbers


def test_a_feature_with_the_name_of_a_measure_is_refused():
    with pytest.raises(ValueError, match="have the features image/width, names that"):
        add_image_features(batch(image=[[b""]], **{"image/width": [[b"28"]]}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("statistics")


@pytest.fixture(scope="module")
def statistics(folder):
    splits = {"train": digits(12), "eval": digits(5, start=12), "empty": []}
    examples = examples_artifact(folder / "examples", splits)
    examples.set_int_custom_property("span", 3)  # as ExampleGen's driver notes it
    return make_statistics(folder, examples)


def test_statistics_of_the_digits(statistics):
    assert statistics.span == 3
    assert json.loads(statistics.split_names) == ["train", "eval", "empty"]
    for split, rows in (("train", digits(12)), ("eval", digits(5, start=12))):
        features = load(statistics, split)
        assert set(features) == {*FEATURES, *IMAGE_FEATURES}
        pixels = np.stack([tf.io.decode_image(row[0]).numpy() for row in rows]) / 255.0
        for name, values in (
            ("image/brightness", pixels.mean(axis=(1, 2, 3))),
            ("image/contrast", pixels.std(axis=(1, 2, 3))),
            ("image/width", np.full(len(rows), 28)),
            ("image/height", np.full(len(rows), 28)),
            ("image/channels", np.full(len(rows), 1)),
        ):
            found = features[name].num_stats
            assert found.common_stats.num_non_missing == len(rows)
            np.testing.assert_allclose(found.mean, values.mean(), rtol=1e-5)
            np.testing.assert_allclose(
                [found.min, found.max], [values.min(), values.max()], rtol=1e-5
            )
        assert features["label"].string_stats.unique == 10


def test_an_inferred_schema_keeps_the_measures_from_transform(statistics):
    inferred = tfdv.infer_schema(stats_artifact_utils.load_statistics(statistics, "train").proto())
    assert {feature.name for feature in inferred.feature} == {*FEATURES, *IMAGE_FEATURES}
    assert set(schema_utils.schema_as_feature_spec(inferred).feature_spec) == set(FEATURES)


def test_component_is_tfx_s_own_with_another_executor():
    examples = channel.Channel(standard_artifacts.Examples)
    settings = {"stats_options": statistics_options(), "exclude_splits": ["other"]}
    node, original = StatisticsGen(examples, **settings), TfxStatisticsGen(examples, **settings)
    assert node.id == original.id == "StatisticsGen"
    assert node.exec_properties == {**original.exec_properties, "background": "white"}
    assert list(node.outputs) == list(original.outputs)
    assert node.executor_spec.executor_class is executor.Executor
