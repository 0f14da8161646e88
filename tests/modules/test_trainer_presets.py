"""Backbones of KerasHub through the Trainer: what learns, what is cached, and what is exported."""

# ruff: noqa: F811 -- a fixture of another file

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from modules import trainer
from modules.batches import FeatureCache
from modules.export.tflite_report import extra_assets
from modules.training import learning
from tests.modules.models.preset_folders import save_preset
from tests.modules.test_trainer import ROWS, SETTINGS, arguments, prepared  # noqa: F401
from tests.modules.training.training_runs import PLAIN

# Neither the project nor KerasHub can be imported there. A line for each model and its images.
SERVE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("keras_hub", "tensorflow_text", "modules", "pipeline"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
import json
import tensorflow as tf
for line in sys.stdin:
    path, *files = json.loads(line)
    model = tf.saved_model.load(path)
    images = tf.constant([open(file, "rb").read() for file in files])
    found = model.signatures["images"](images=images)["embedding"].numpy().tolist()
    print(json.dumps(found), flush=True)
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Embeds image files by a SavedModel, in a process that knows TensorFlow only."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=tmp_path_factory.mktemp("bare"), env={"TF_CPP_MIN_LOG_LEVEL": "2"},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip

        def embedded(path: str, files: list[Path]) -> np.ndarray:
            process.stdin.write(json.dumps([path, *map(str, files)]) + "\n")
            process.stdin.flush()
            return np.array(json.loads(process.stdout.readline()))

        yield embedded
        process.stdin.close()


def run(prepared, root: Path, model: dict, monkeypatch, **training) -> str:
    """Trains with `[model]`; returns the SavedModel."""
    monkeypatch.setitem(SETTINGS, "model", {"embedding_size": 16, **model})
    fn_args = arguments(prepared, root, {"learning_rate": 0.02} | training)
    trainer.run_fn(fn_args)
    return fn_args.serving_model_dir


def embed(path: str, images: list[bytes]) -> np.ndarray:
    served = tf.saved_model.load(path).signatures["images"]
    return served(images=tf.constant(images))["embedding"].numpy()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "model"),
    [
        ("dinov2_registers", {"trainable": "head"}),
        ("dinov3", {"trainable": "lora", "lora_rank": 2}),
        ("vit", {"trainable": "fine_tune"}),
        ("siglip2", {"trainable": "lora"}),
    ],
)
def test_the_export_needs_neither_project_nor_keras_hub(
    bare,
    prepared,
    tmp_path,
    monkeypatch,
    family: str,
    model: dict,
) -> None:
    preset = save_preset(family, tmp_path)
    images = [image for image, _, _ in ROWS["eval"][:3]]
    # Random weights, and large ones: 8 bits are few for them.
    monkeypatch.setitem(SETTINGS, "export", {"min_similarity_dynamic": 0.8})
    path = run(
        prepared, tmp_path, {"name": "keras_hub", "preset": preset, **model}, monkeypatch, **PLAIN
    )
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, images, strict=True):
        file.write_bytes(image)
    found = bare(path, files)
    np.testing.assert_allclose(found, embed(path, images), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert (Path(extra_assets(path)) / "embedding_float.tflite").exists()
    names = [name for name, _ in tf.train.list_variables(f"{path}/variables/variables")]
    assert not [name for name in names if "lora" in name]


def test_a_head_learns_the_same_from_features_as_from_images(
    prepared,
    tmp_path,
    monkeypatch,
    capsys,
) -> None:
    """In memory, in a file, or computed in every step."""
    model = {
        "name": "keras_hub", "preset": save_preset("vit", tmp_path), "trainable": "head"
    }  # fmt: skip
    images = [image for image, _, _ in ROWS["eval"]]
    found = [
        embed(run(prepared, tmp_path / place, model, monkeypatch, **PLAIN, **settings), images)
        for place, settings in (("memory", {}), ("file", {"cache_megabytes": 0}))
    ]
    printed = capsys.readouterr().out
    assert "120 images, 8 numbers each, computed once" in printed
    assert printed.index("kept in memory") < printed.index("kept in a file")
    monkeypatch.setattr(
        trainer,
        "prepare_learning",
        lambda embedder, model, training, take, *_: learning.Learning(embedder, take),
    )
    found.append(embed(run(prepared, tmp_path / "each", model, monkeypatch, **PLAIN), images))
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-3)


def test_images_that_change_at_random_are_not_cached(
    prepared,
    tmp_path,
    monkeypatch,
    capsys,
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(learning, "FeatureCache", never)
    model = {
        "name": "keras_hub", "preset": save_preset("vit", tmp_path), "trainable": "head"
    }  # fmt: skip
    run(prepared, tmp_path, model, monkeypatch, **PLAIN | {"max_shift": 0.1})


def test_an_image_without_features_is_an_error(prepared, tmp_path) -> None:
    files = [f"{prepared['examples'][0].uri}/Split-train/*"]
    others = np.array([ROWS["eval"][1][0]], object)
    cache = FeatureCache(
        files, others, lambda images: tf.strings.length(images)[:, None], str(tmp_path), 2**20
    )
    assert cache.look_up(tf.constant(others)).numpy() == [[len(others[0])]]
    known = [ROWS["eval"][0][0]]
    with pytest.raises(tf.errors.InvalidArgumentError, match="no features"):
        cache.look_up(tf.constant(known))
