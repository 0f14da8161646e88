"""Transform and Trainer through their real executors, on triplets of the real TripletGen."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_transform as tft
from tfx.components.trainer.executor import GenericExecutor
from tfx.components.trainer.fn_args_utils import FnArgs
from tfx.components.transform.executor import Executor as TransformExecutor
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import trainer_pb2
from tfx.types import standard_artifacts
from tfx.utils import json_utils, proto_utils

from components.triplet_gen.executor import Executor as TripletExecutor
from modules import trainer
from modules.batches.of_triplets import triplet_batches
from modules.batches.reading import labelled_images
from modules.contract import VALIDATION
from modules.export import tflite as tflite_export
from modules.export.tflite import TFLiteError
from modules.export.tflite_report import extra_assets, read_tflite_report
from modules.models.embedding_network import build_embedding_model
from modules.training.guard import TrainingFailedError
from pipeline.config import PROJECT
from pipeline.schema import SCHEMA_FILE
from tests.real_data import BEAM_ARGS, digits, examples_artifact

ROWS = {"train": digits(12), "eval": digits(6, start=12)}
SETTINGS = {
    "image": {"height": 28, "width": 28, "channels": 1},
    "model": {"name": "small_cnn", "embedding_size": 16, "batch_norm": False},
    "training": {"steps": 12, "batch_size": 96, "validate_every": 6, "projector": False},
    "export": {"tflite": False},
    "code_fingerprint": "of the test",
}


def beam_context(tmp: Path) -> BaseBeamExecutor.Context:
    return BaseBeamExecutor.Context(beam_pipeline_args=BEAM_ARGS, tmp_dir=str(tmp), unique_id="1")


def transform(root: Path, examples: standard_artifacts.Examples) -> Any:
    """Runs Transform; returns the transform graph."""
    schema = standard_artifacts.Schema()
    schema.uri = str(root / "schema")
    Path(schema.uri).mkdir()
    Path(schema.uri, "schema.pbtxt").write_text(SCHEMA_FILE.read_text())
    graph = standard_artifacts.TransformGraph()
    graph.uri = str(root / "graph")
    TransformExecutor(beam_context(root)).Do(
        {"examples": [examples], "schema": [schema]},
        {"transform_graph": [graph]},
        {
            "preprocessing_fn": "modules.preprocessing.preprocessing_fn",
            "custom_config": json_utils.dumps({"image": SETTINGS["image"]}),
            "force_tf_compat_v1": 0,
            "disable_statistics": 1,
        },
    )
    return graph


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> dict[str, list[Any]]:
    """The Trainer's inputs, made by the real nodes."""
    root = tmp_path_factory.mktemp("chain")
    examples = examples_artifact(root / "examples", ROWS)
    graph = transform(root, examples)
    triplets = standard_artifacts.Examples()
    triplets.uri = str(root / "triplets")
    TripletExecutor(beam_context(root)).Do(
        {"examples": [examples]},
        {"triplets": [triplets]},
        {
            "triplets_per_anchor": 1,
            "seed": 0,
            "bucket_size": 64,
            "validation_fraction": 0.25,
            "train_split": "train",
            "eval_split": "eval",
        },
    )
    return {"examples": [triplets], "transform_graph": [graph]}


def train(
    prepared: dict[str, list[Any]], root: Path, *, tflite: bool = False, **training: Any
) -> Path:
    """Runs the Trainer; returns the SavedModel."""
    model, run = standard_artifacts.Model(), standard_artifacts.ModelRun()
    model.uri, run.uri = str(root / "model"), str(root / "run")
    settings = SETTINGS | {
        "training": SETTINGS["training"] | training, "export": {"tflite": tflite}
    }  # fmt: skip
    GenericExecutor().Do(
        prepared,
        {"model": [model], "model_run": [run]},
        {
            "module_file": str(PROJECT / "modules" / "trainer.py"),
            "train_args": proto_utils.proto_to_json(
                trainer_pb2.TrainArgs(num_steps=settings["training"]["steps"])
            ),
            "eval_args": proto_utils.proto_to_json(trainer_pb2.EvalArgs(splits=[VALIDATION])),
            "custom_config": json_utils.dumps(settings),
        },
    )
    return Path(model.uri) / "Format-Serving"


def arguments(
    prepared: dict[str, list[Any]],
    root: Path,
    training: dict[str, Any] | None = None,
    base_model: str | None = None,
    attempt: int = 1,
    *,
    tflite: bool = False,
) -> FnArgs:
    """What TFX hands to `run_fn`, for runs that the executor's own wheel would slow down."""
    tables = SETTINGS | {"training": SETTINGS["training"] | (training or {})}
    if tflite:
        tables["export"] = {}
    return FnArgs(
        train_files=shards(prepared, "train"),
        eval_files=shards(prepared, VALIDATION),
        transform_output=prepared["transform_graph"][0].uri,
        serving_model_dir=str(root / "model" / str(attempt)),
        model_run_dir=str(root / "run" / str(attempt)),
        train_steps=tables["training"]["steps"],
        base_model=base_model,
        custom_config=tables,
    )


@pytest.fixture(scope="module")
def trained(prepared, tmp_path_factory) -> Path:
    return train(prepared, tmp_path_factory.mktemp("trained"), tflite=True, projector=True)


def test_pixels_are_normalised_over_the_train_split(prepared) -> None:
    layer = tft.TFTransformOutput(prepared["transform_graph"][0].uri).transform_features_layer()
    images = tf.constant([[image] for image, _, _ in ROWS["train"]])
    pixels = layer({"image": images})["image"].numpy()
    assert pixels.shape == (120, 28, 28, 1)
    assert pixels.mean() == pytest.approx(0, abs=1e-4)
    assert pixels.var() == pytest.approx(1, abs=1e-3)
    # Against the definition: (p − mean) / standard deviation.
    raw = np.stack([tf.io.decode_png(image[0]).numpy() for image in images.numpy()]) / 255
    np.testing.assert_allclose(pixels, (raw - raw.mean()) / raw.std(), atol=1e-3)


def test_pixels_do_not_depend_on_the_order_of_the_examples(prepared, tmp_path) -> None:
    """Else every training would differ: Beam delivers the examples in another order each time."""
    rows = {split: random.Random(0).sample(rows, len(rows)) for split, rows in ROWS.items()}
    shuffled = transform(tmp_path, examples_artifact(tmp_path / "examples", rows, shards=5))
    images = tf.constant([[image] for image, _, _ in ROWS["eval"]])
    first, second = (
        tft.TFTransformOutput(graph.uri).transform_features_layer()({"image": images})["image"]
        for graph in (prepared["transform_graph"][0], shuffled)
    )
    np.testing.assert_array_equal(first, second)


def shards(prepared: dict[str, list[Any]], split: str) -> list[str]:
    return [f"{prepared['examples'][0].uri}/Split-{split}/*"]


def test_the_train_split_is_trained_on_or_validated_with_and_the_eval_split_is_neither(
    prepared,
) -> None:
    by_image = {image: label for image, label, _ in ROWS["train"]}
    validation = labelled_images(shards(prepared, VALIDATION))
    train = labelled_images(shards(prepared, "train"))
    rows = [(*row,) for data in (train, validation) for row in zip(*data, strict=True)]
    assert sorted(rows) == sorted(ROWS["train"])
    dataset = triplet_batches(shards(prepared, "train"), lambda encoded: encoded, 10, seed=0)
    anchors: set[bytes] = set()
    for images, codes in dataset.take(len(train.ids) // 10 * 2):
        labels = np.array([by_image[image] for image in images.numpy()])
        anchor, positive, negative = np.split(labels, 3)
        assert (anchor == positive).all()
        assert (anchor != negative).all()
        np.testing.assert_array_equal(
            labels[:, None] == labels[None, :], codes.numpy()[:, None] == codes.numpy()[None, :]
        )
        anchors.update(images.numpy()[:10])
    assert anchors <= set(train.images)
    assert len(anchors) > 0.9 * len(train.images)


def test_no_files_is_an_error_that_names_the_pattern(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"No triplet files match .*nothing"):
        triplet_batches([f"{tmp_path}/nothing*"], lambda x: x, 4, seed=0)


def test_the_model_loads_without_project_code_and_both_signatures_agree(trained, tmp_path) -> None:
    """A bare process: the project is not importable there."""
    image = ROWS["eval"][0][0]
    (tmp_path / "image.png").write_bytes(image)
    script = f"""
import json, sys
import tensorflow as tf
assert not any(name.split(".")[0] in ("modules", "pipeline", "tfx") for name in sys.modules)
model = tf.saved_model.load({str(trained)!r})
image = open("image.png", "rb").read()
feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[image]))
example = tf.train.Example(features=tf.train.Features(feature={{"image": feature}}))
a = model.signatures["serving_default"](examples=tf.constant([example.SerializeToString()]))
b = model.signatures["images"](images=tf.constant([image]))
print(json.dumps([a["embedding"].numpy().tolist(), b["embedding"].numpy().tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    from_example, from_image = map(np.array, json.loads(done.stdout.splitlines()[-1]))
    assert from_example.shape == (1, 16)
    np.testing.assert_allclose(np.linalg.norm(from_example), 1, atol=1e-5)
    np.testing.assert_allclose(from_example, from_image, atol=1e-6)


def test_tensorboard_gets_losses_and_retrieval_of_the_validation_part(trained) -> None:
    tags: dict[str, list[int]] = {}
    for path in trained.parent.parent.rglob("events.out.tfevents*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                tags.setdefault(f"{path.parent.name}/{value.tag}", []).append(event.step)
    validations = [0, 1]  # 12 steps, one validation every 6
    assert tags["validation/epoch_map@r"] == validations
    assert tags["validation/epoch_precision@1"] == validations
    assert tags["train/epoch_active"] == validations


def test_training_is_reproducible_and_depends_on_the_seed(prepared, trained, tmp_path) -> None:
    images = tf.constant([image for image, _, _ in ROWS["eval"]])

    def embed(path: Path) -> np.ndarray:
        return (
            tf.saved_model.load(str(path)).signatures["images"](images=images)["embedding"].numpy()
        )

    again, other = train(prepared, tmp_path / "a"), train(prepared, tmp_path / "b", seed=1)
    np.testing.assert_allclose(embed(trained), embed(again), atol=1e-4)
    assert np.abs(embed(trained) - embed(other)).max() > 1e-2


def test_mixed_precision_is_served_in_float32(prepared, tmp_path) -> None:
    path = train(prepared, tmp_path, precision="mixed_bfloat16", max_shift=0.1, max_rotation=0.05)
    served = tf.saved_model.load(str(path)).signatures["images"]
    graph = served.graph.as_graph_def(add_shapes=False)
    nodes = [*graph.node, *(node for f in graph.library.function for node in f.node_def)]
    types = {attribute.type for node in nodes for attribute in node.attr.values()}
    assert tf.float32.as_datatype_enum in types
    assert tf.bfloat16.as_datatype_enum not in types
    assert not [node.op for node in nodes if "Projective" in node.op or "Random" in node.op]


def test_the_export_has_tflite_models_and_pictures(prepared, trained) -> None:
    report = read_tflite_report(extra_assets(str(trained)))
    held_out = len(labelled_images(shards(prepared, VALIDATION)).ids)
    assert report.compared_images == held_out
    assert report.input_shape == (28, 28, 1)
    assert report.input_black[0] < 0 < report.input_white[0]
    run = trained.parent.parent / "run"
    assert (run / "tsne.png").read_bytes().startswith(b"\x89PNG")
    metadata = (run / "projector" / "metadata.tsv").read_text().splitlines()
    assert len(metadata) == 1 + held_out


def test_nothing_is_exported_when_a_tflite_model_differs(prepared, tmp_path, monkeypatch) -> None:
    fn_args = arguments(prepared, tmp_path, tflite=True)
    original = tflite_export._convert

    def worse(embedder: keras.Model) -> dict[str, bytes]:
        weights = embedder.get_weights()
        embedder.set_weights([w + 0.1 for w in weights])
        contents = original(embedder)
        embedder.set_weights(weights)
        return contents

    monkeypatch.setattr(tflite_export, "_convert", worse)
    with pytest.raises(TFLiteError, match="differs"):
        trainer.run_fn(fn_args)
    assert not (tmp_path / "model").exists()


def test_training_starts_from_an_earlier_model(prepared, trained, tmp_path, capsys) -> None:
    """With a rate so small that nothing moves, the result is the earlier model."""
    still = {"learning_rate": 1e-12, "compatibility_weight": 1.0}
    fn_args = arguments(prepared, tmp_path, base_model=str(trained), training=still)
    trainer.run_fn(fn_args)
    assert "images embedded by the last blessed model" in capsys.readouterr().out
    images = tf.constant([image for image, _, _ in ROWS["eval"]])
    earlier, later = (
        tf.saved_model.load(path).signatures["images"](images=images)["embedding"]
        for path in (str(trained), fn_args.serving_model_dir)
    )
    np.testing.assert_allclose(earlier, later, atol=1e-5)


CHILD = """
import json, sys
from types import SimpleNamespace
from modules import trainer

trainer.run_fn(SimpleNamespace(**json.loads(sys.argv[1])))
"""


@pytest.mark.slow
def test_a_killed_trainer_goes_on_in_the_next_attempt(prepared, tmp_path, capsys) -> None:
    """SIGKILL between two validations; the retry has another output folder, as in TFX."""
    training = {"steps": 30, "patience": 9, "max_shift": 0.1, "max_rotation": 0.05, "ema": 0.8}
    killed, retry = (
        arguments(prepared, tmp_path, training=training, attempt=attempt) for attempt in (1, 2)
    )
    whole = arguments(prepared, tmp_path / "whole", training=training)
    child = subprocess.Popen(
        [sys.executable, "-u", "-c", CHILD, json.dumps(vars(killed))],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    for line in child.stdout:
        if line.startswith("step    18/30"):
            break
    child.kill()
    assert child.wait() == -signal.SIGKILL
    checkpoints = tmp_path / "run" / "checkpoints"
    assert list(checkpoints.glob("*/*.index"))
    assert not Path(killed.serving_model_dir).exists()

    trainer.run_fn(retry)
    assert re.search(r"Goes on at step (12|18) of an earlier attempt", capsys.readouterr().out)
    trainer.run_fn(whole)
    images = tf.constant([image for image, _, _ in ROWS["eval"]])
    expected, found = (
        tf.saved_model.load(run.serving_model_dir).signatures["images"](images=images)["embedding"]
        for run in (whole, retry)
    )
    np.testing.assert_allclose(expected, found, atol=5e-3)
    assert list(checkpoints.iterdir()) == []  # removed when the model was safe


def test_what_is_left_open_is_chosen_and_written_down(prepared, tmp_path) -> None:
    left_open = {"steps": None, "validate_every": None, "minutes": 0.05}
    trainer.run_fn(arguments(prepared, tmp_path, left_open))
    run = tmp_path / "run" / "1"
    assert json.loads((run / "choices.json").read_text()).keys() == {"steps", "validate_every"}
    result = json.loads((run / "training.json").read_text())
    assert result["stopped"] == "minutes used up"
    assert result["steps"] >= 1


@pytest.mark.slow
def test_the_number_of_steps_follows_from_the_images(prepared, tmp_path) -> None:
    """The least number of steps there is, for those of 120 images that are not held out."""
    trainer.run_fn(arguments(prepared, tmp_path, {"steps": None, "patience": 1}))
    choices = json.loads((tmp_path / "run" / "1" / "choices.json").read_text())
    assert choices["steps"]["value"] == 300
    count = len(labelled_images(shards(prepared, "train")).ids)
    assert f"{count} images of 10 classes in batches of 96" in choices["steps"]["why"]


@pytest.mark.parametrize(
    ("weight", "message"),
    [(0.0, r"collapsed to one point .*training\.mining"), (np.nan, r"loss is nan .*learning_rate")],
)
def test_failed_training_says_why_and_writes_no_model(
    prepared, tmp_path, monkeypatch, weight: float, message: str
) -> None:
    """A dead network (no gradient can move it) and a diverged one, in the real training loop."""

    def broken(*arguments: Any, **options: Any) -> keras.Model:
        model = build_embedding_model(*arguments, **options)
        model.set_weights([np.full_like(values, weight) for values in model.get_weights()])
        return model

    monkeypatch.setattr(trainer, "build_embedding_model", broken)
    fn_args = arguments(prepared, tmp_path)
    with pytest.raises(TrainingFailedError, match=message):
        trainer.run_fn(fn_args)
    assert not (tmp_path / "model").exists()
