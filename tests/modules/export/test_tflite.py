"""TFLite models beside the SavedModel: parity with the network, report, the way through Pusher."""

from __future__ import annotations

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from tfx.components.pusher.executor import Executor as PusherExecutor
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from modules.export import tflite as tflite_export
from modules.export.saved_model import EmbeddingModule
from modules.export.tflite import TFLiteError, export_tflite
from modules.export.tflite_report import TFLiteReport, extra_assets, read_tflite_report
from modules.export.tflite_runtime import run_tflite
from modules.images import decode_images
from modules.images.pixel_range import PixelRange
from modules.models.embedding_network import build_embedding_model
from modules.settings import ExportSettings, ImageSettings, ModelSettings
from tests.real_data import digits

IMAGE = ImageSettings(height=32, width=32, channels=1)
ENCODED = [image for image, _, _ in digits(7)]
PIXELS = (decode_images(tf.constant(ENCODED), IMAGE).numpy() - 0.125) / 0.25
RANGE = PixelRange(black=(-0.5,), white=(3.5,))


def network(name: str = "small_cnn") -> keras.Model:
    keras.utils.set_random_seed(0)
    return build_embedding_model(ModelSettings(name=name, embedding_size=16), IMAGE)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> tuple[keras.Model, Path, TFLiteReport]:
    folder = tmp_path_factory.mktemp("tflite") / "new" / "folder"
    embedder = network()
    return (
        embedder,
        folder,
        export_tflite(embedder, str(folder), [PIXELS[:40], PIXELS[40:]], None, RANGE, IMAGE),
    )


def test_both_models_embed_as_the_network_does(written) -> None:
    embedder, folder, _ = written
    wanted = np.asarray(embedder(PIXELS, training=False))
    exact = run_tflite((folder / "embedding_float.tflite").read_bytes(), PIXELS)
    assert exact.dtype == np.float32
    np.testing.assert_allclose(exact, wanted, atol=1e-5)
    quantised = run_tflite((folder / "embedding_dynamic.tflite").read_bytes(), PIXELS)
    np.testing.assert_allclose(np.linalg.norm(quantised, axis=1), 1, atol=1e-5)
    assert (quantised * wanted).sum(axis=1).mean() > 0.99  # the cosine
    assert np.abs(quantised - wanted).max() > 1e-5  # it is another model


def test_the_models_are_usable_by_the_plain_interpreter(written) -> None:
    """As on a device: one image, prepared as documented."""
    embedder, folder, _ = written
    report = json.loads((folder / "tflite.json").read_text())
    height, width, channels = report["input_shape"]
    image = ImageSettings(
        height=height, width=width, channels=channels, fit=report["input_fit"],
        background=report["input_background"],
    )  # fmt: skip
    assert image == IMAGE
    raw = decode_images(tf.constant(ENCODED[:1]), image).numpy() * 255
    black, white = np.array(report["input_black"]), np.array(report["input_white"])
    prepared = (black + (white - black) * raw / 255).astype(np.float32)
    path = folder / report["models"]["float"]["file"]
    interpreter = Interpreter(str(path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], prepared)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, embedder(PIXELS[:1], training=False), atol=1e-5)


def test_the_report_tells_what_is_in_the_folder(written) -> None:
    _, folder, report = written
    assert read_tflite_report(str(folder)) == report
    assert report.input_shape == (32, 32, 1)
    assert report.embedding_size == 16
    assert report.compared_images == 70
    assert {path.name for path in folder.iterdir()} == {
        "tflite.json", "embedding_float.tflite", "embedding_dynamic.tflite"
    }  # fmt: skip
    for model in report.models.values():
        assert (folder / model.file).stat().st_size == model.bytes
        assert model.latency_ms > 0
        assert model.min_similarity <= model.mean_similarity <= 1 + 1e-6
    # 4 bytes a weight become 1.
    assert report.models["dynamic"].bytes < report.models["float"].bytes / 3
    assert read_tflite_report(str(folder / "elsewhere")) is None


@pytest.mark.parametrize("name", ["residual_cnn", "mobilenet_v3_small"])
def test_networks_with_batch_normalisation_and_other_activations(name: str, tmp_path: Path) -> None:
    report = export_tflite(network(name), str(tmp_path), [PIXELS[:8]])
    assert report.models["float"].min_similarity == pytest.approx(1, abs=1e-4)
    assert (report.input_black, report.input_white) == (None, None)
    assert (report.input_fit, report.input_background) == (None, None)


def test_a_model_that_differs_is_not_written(tmp_path: Path) -> None:
    message = (
        r"embedding_dynamic\.tflite differs .* least similarity .* Lower export\.min_similarity"
    )
    with pytest.raises(TFLiteError, match=message):
        export_tflite(
            network(),
            str(tmp_path / "new"),
            [PIXELS[:4]],
            ExportSettings(min_similarity_dynamic=1.0),
        )
    assert not (tmp_path / "new").exists()


def test_one_image_that_differs_is_enough(tmp_path: Path, monkeypatch) -> None:
    """The quantised model answers the last of 69 images with the embedding of another one."""
    run = tflite_export.run_tflite

    def wrong(content: bytes, images: np.ndarray) -> np.ndarray:
        found = run(content, images)
        if len(content) < 500_000 and len(images) == 9:
            found[-1] = -found[-1]
        return found

    monkeypatch.setattr(tflite_export, "run_tflite", wrong)
    with pytest.raises(
        TFLiteError, match=r"dynamic\.tflite differs .* similarity .* is -(1\.0|0\.9)"
    ):
        export_tflite(network(), str(tmp_path / "new"), [PIXELS[:60], PIXELS[60:69]])
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("limit", "compared"), [("MAX_COMPARED", 20), ("MAX_SECONDS", 10)])
def test_the_comparison_is_bounded(tmp_path: Path, monkeypatch, limit: str, compared: int) -> None:
    monkeypatch.setattr(tflite_export, limit, 15 if limit == "MAX_COMPARED" else 0.0)
    report = export_tflite(network(), str(tmp_path), np.split(PIXELS, 7))
    assert report.compared_images == compared


def test_embeddings_that_are_not_finite_are_an_error(tmp_path: Path) -> None:
    embedder = network()
    embedder.set_weights([np.full_like(w, np.nan) for w in embedder.get_weights()])
    with pytest.raises(TFLiteError, match="small_cnn are not all finite"):
        export_tflite(embedder, str(tmp_path), [PIXELS[:4]])


def test_a_network_that_tflite_cannot_express_is_an_error(tmp_path: Path) -> None:
    @tf.function
    def determinant(x: tf.Tensor) -> tf.Tensor:
        return tf.linalg.det(x[..., 0])[:, tf.newaxis]

    inputs = keras.Input((32, 32, 1))
    embedder = keras.Model(inputs, keras.layers.Lambda(determinant, (1,))(inputs), name="unusual")
    with pytest.raises(TFLiteError, match=r"unusual cannot be converted .*MatrixDeterminant"):
        export_tflite(embedder, str(tmp_path), [PIXELS[:1]])


def test_no_images_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one image"):
        export_tflite(network(), str(tmp_path), [])


def test_the_converter_keeps_quiet(capfd, recwarn, tmp_path: Path) -> None:
    export_tflite(network(), str(tmp_path), [PIXELS[:1]])
    assert not re.search("Ignored|deprecated|XNNPACK", capfd.readouterr().err)
    assert not [w for w in recwarn if "tf.lite" in str(w.message)]


def test_pusher_takes_the_files_along_and_the_savedmodel_still_loads(tmp_path: Path) -> None:
    class Transform(keras.layers.Layer):
        def call(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            pixels = decode_images(tf.reshape(inputs["image"], [-1]), IMAGE)
            return {"image": (pixels - 0.125) / 0.25}

    model, pushed = standard_artifacts.Model(), standard_artifacts.PushedModel()
    model.uri, pushed.uri = str(tmp_path / "model"), str(tmp_path / "pushed")
    embedder, serving = network(), str(tmp_path / "model" / "Format-Serving")
    EmbeddingModule(embedder, Transform()).save(serving)
    report = export_tflite(embedder, extra_assets(serving), [PIXELS[:8]])
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=str(tmp_path / "serving"))
    )
    PusherExecutor().Do(
        {"model": [model]},
        {"pushed_model": [pushed]},
        {"push_destination": proto_utils.proto_to_json(destination)},
    )
    (version,) = (tmp_path / "serving").iterdir()
    assert read_tflite_report(extra_assets(str(version))) == report
    content = Path(extra_assets(str(version)), "embedding_float.tflite").read_bytes()
    served = tf.saved_model.load(str(version)).signatures["images"]
    embeddings = served(images=tf.constant(ENCODED[:8]))["embedding"].numpy()
    np.testing.assert_allclose(run_tflite(content, PIXELS[:8]), embeddings, atol=1e-5)
