"""StatisticsGen and Transform through their real executors: the size that suits the data."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from PIL import Image, ImageDraw
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import Channel, standard_artifacts

from components.transform import Transform
from modules.export import EmbeddingModule
from modules.images import (
    REFUSED,
    TOO_LARGE,
    decode_images,
    decode_to_array,
    find_pixel_range,
    transformed_image,
)
from modules.settings import ImageLimits, ImageSettings, ImageTable
from pipeline.schema import SCHEMA_FILE
from tests.components.example_validator.validation_nodes import make_statistics
from tests.modules.images.image_files import CONVERTED, LOSSLESS, LOSSY
from tests.modules.images.test_header import a_bomb
from tests.real_data import BEAM_ARGS, Row, digits, examples_artifact

LIMITS = ImageLimits(least=10, most=64)
ALL = "height,width,channels"


class Made(NamedTuple):
    """What the node made: the artifact, and its function from encoded images to pixels."""

    graph: standard_artifacts.TransformGraph
    output: tft.TFTransformOutput

    @property
    def noted(self) -> tuple[int, int, int, str]:
        sizes = (self.graph.get_int_custom_property(f"image_{key}") for key in ALL.split(","))
        return *sizes, self.graph.get_string_custom_property("image_chosen")

    def pixels(self, rows: list[Row]) -> np.ndarray:
        images = tf.constant([[image] for image, _, _ in rows])
        return self.output.transform_features_layer()({"image": images})["image"].numpy()


def drawn(size: tuple[int, int], kind: str, mode: str, count: int) -> list[Row]:
    """Pictures of one disc each, the size as (width, height)."""
    rows = []
    for i in range(count):
        picture = Image.new("RGB", size, (90, 140, 200))
        x, y = size[0] * (i + 1) // (count + 1), size[1] // 2
        radius = min(size) // 4
        ImageDraw.Draw(picture).ellipse((x - radius, y - radius, x + radius, y + radius), "red")
        buffer = io.BytesIO()
        picture.convert(mode).save(buffer, kind)
        name = f"{kind} {mode} {size} {i}".encode()
        rows.append((buffer.getvalue(), b"disc", name))
    return rows


def run(folder: Path, rows: list[Row], *, measured: bool = True, **table: Any) -> Made:
    """Runs both nodes on rows as train split, with odd ones as eval split."""
    splits = {"train": rows, "eval": drawn((9, 7), "PNG", "L", 2)}
    examples = examples_artifact(folder / "examples", splits)
    schema = standard_artifacts.Schema()
    schema.uri = str(folder / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(SCHEMA_FILE.read_text())
    node = Transform(
        examples=Channel(standard_artifacts.Examples),
        schema=Channel(standard_artifacts.Schema),
        preprocessing_fn="modules.preprocessing.preprocessing_fn",
        image=ImageTable(**table),
        limits=LIMITS,
        statistics=Channel(standard_artifacts.ExampleStatistics),
    )
    assert node.id == "Transform"
    inputs = {"examples": [examples], "schema": [schema]}
    assert list(node.outputs) == ["transform_graph"]
    if measured and "statistics" in node.inputs:
        inputs["statistics"] = [make_statistics(folder, examples)]
    graph = standard_artifacts.TransformGraph()
    graph.uri = str(folder / "graph")
    context = BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(folder / "tmp"), unique_id="1"
    )
    node.executor_spec.executor_class(context).Do(
        inputs, {"transform_graph": [graph]}, dict(node.exec_properties)
    )
    return Made(graph, tft.TFTransformOutput(graph.uri))


def test_digits_get_the_pixels_that_they_get_with_their_size_given(tmp_path) -> None:
    rows = digits(6)
    for name in ("chosen", "given"):
        (tmp_path / name).mkdir()
    chosen = run(tmp_path / "chosen", rows)
    given = run(tmp_path / "given", rows, height=28, width=28, channels=1)
    assert chosen.noted == (28, 28, 1, ALL)
    assert given.noted == (28, 28, 1, "")
    assert transformed_image(chosen.output) == transformed_image(given.output)
    # Bit by bit, mean and deviation of the train split included.
    assert chosen.pixels(rows).tobytes() == given.pixels(rows).tobytes()


def test_photographs_are_scaled_down_in_their_form_and_keep_their_colours(tmp_path) -> None:
    rows = drawn((500, 375), "JPEG", "RGB", 5)
    made = run(tmp_path, rows)
    assert made.noted == (48, 64, 3, ALL)
    assert transformed_image(made.output) == ImageSettings(height=48, width=64, channels=3)
    pixels = made.pixels(rows)
    assert pixels.shape == (5, 48, 64, 3)
    assert not np.allclose(pixels[..., 0], pixels[..., 2])


@pytest.mark.parametrize("fit", ["letterbox", "crop", "squash"])
def test_the_graph_fits_images_as_it_is_told_and_it_is_known_later(tmp_path, fit) -> None:
    rows = [*drawn((40, 30), "PNG", "RGB", 3), *drawn((30, 60), "PNG", "RGB", 2)]
    made = run(tmp_path, rows, fit=fit)
    image = transformed_image(made.output)
    assert image == ImageSettings(height=30, width=40, channels=3, fit=fit)
    assert made.graph.get_string_custom_property("image_fit") == fit
    portrait = rows[-1][0]
    expected = decode_images(tf.constant([portrait]), image).numpy()[0]
    # Each channel was scaled and shifted; over both kinds of images by the same numbers.
    found = made.pixels([rows[-1], rows[0]])
    scale, offset = np.polyfit(
        decode_images(tf.constant([rows[0][0]]), image).numpy()[0, :, :, 0].ravel(),
        found[1, :, :, 0].ravel(), 1,
    )  # fmt: skip
    np.testing.assert_allclose(found[0, :, :, 0], scale * expected[..., 0] + offset, atol=1e-3)
    bars = np.all(expected == 1, axis=(0, 2)).sum()  # columns of white
    assert bars == (25 if fit == "letterbox" else 0)  # 15 of 40 columns show the image


def test_grey_with_alpha_is_one_channel_and_a_side_may_be_given(tmp_path) -> None:
    rows = drawn((120, 90), "PNG", "LA", 4)
    made = run(tmp_path, rows, height=30)
    assert made.noted == (30, 40, 1, "width,channels")
    assert made.pixels(rows).shape == (4, 30, 40, 1)


def test_of_mixed_sizes_the_median_decides_and_more_colours_than_greys_are_colour(tmp_path) -> None:
    rows = [
        *drawn((40, 30), "PNG", "RGB", 3),
        *drawn((300, 200), "JPEG", "L", 2),
        *drawn((52, 36), "PNG", "RGBA", 4),
    ]
    # Widths: 40 three times, 52 four times, 300 twice; the fifth of nine is 52.
    made = run(tmp_path, rows)
    assert made.noted == (36, 52, 3, ALL)
    assert made.pixels(rows).shape == (9, 36, 52, 3)


def test_without_statistics_to_choose_by(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"height, channels of \[image\] can only be chosen by st"):
        run(tmp_path, digits(1), measured=False, width=28)


def test_when_no_image_can_be_decoded(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"know no image/height of the split 'train', so the size"):
        run(tmp_path, [(b"no image", b"a", b"1"), (b"nor this", b"a", b"2")])


def test_every_kind_of_file_is_the_same_to_the_check_transform_and_a_served_model(tmp_path) -> None:
    """Levels of 0…255, bit by bit; those of the check are what a person sees (`test_decode`)."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    rows = [
        (write(pixels, orientation), b"a", f"{name} {orientation}".encode())
        for name, write in (LOSSLESS | LOSSY).items()
        for orientation in (0, 2, 3)
    ]
    made = run(tmp_path, rows, height=9, width=7, channels=3, background="teal")
    image = ImageSettings(height=9, width=7, channels=3, background="teal")
    black, white = (
        np.array(values)
        for values in find_pixel_range(made.output.transform_features_layer(), image)
    )

    def levels(transformed: np.ndarray) -> np.ndarray:
        found = (transformed - black) / (white - black) * 255
        assert np.abs(found - np.rint(found)).max() < 0.01
        return np.rint(found)

    flatten = keras.Sequential([keras.layers.Input((9, 7, 3)), keras.layers.Flatten()])
    EmbeddingModule(flatten, made.output.transform_features_layer()).save(str(tmp_path / "model"))
    served = tf.saved_model.load(str(tmp_path / "model")).signatures["images"]
    embedded = served(images=tf.constant([file for file, _, _ in rows]))["embedding"].numpy()
    checked = np.stack([decode_to_array(file, "teal") for file, _, _ in rows])
    np.testing.assert_array_equal(levels(made.pixels(rows)), checked)
    np.testing.assert_array_equal(levels(embedded.reshape(-1, 9, 7, 3)), checked)
    for write in CONVERTED.values():
        with pytest.raises(tf.errors.InvalidArgumentError, match=REFUSED):
            served(images=tf.constant([write(pixels, 0)]))
    with pytest.raises(tf.errors.InvalidArgumentError, match=TOO_LARGE):
        served(images=tf.constant([a_bomb("png")]))
