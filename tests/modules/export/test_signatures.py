"""The signatures of a version, as TensorFlow Serving runs them."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from modules.index import (
    SIGNATURE_ASSETS,
    model_fingerprint,
    takes_assets,
    write_gallery_assets,
)
from tests.modules.export.signature_models import IMAGES, ROWS, THRESHOLD
from tests.modules.index.index_folders import write_flat_index
from tests.serving_session import ServingSession


def jpeg(image: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(image)).save(buffer, "JPEG")
    return buffer.getvalue()


def test_a_server_restores_every_variable(bare, exported) -> None:
    """Keras' variables are in the graph once, or the network would read what nobody has filled."""
    served = tf.saved_model.load(exported).signatures
    wanted = served["images"](images=tf.constant(IMAGES))["embedding"].numpy()
    np.testing.assert_allclose(bare.answer("images", images=IMAGES)["embedding"], wanted, atol=1e-6)
    assert set(bare.signatures) - {"__saved_model_init_op"} == set(served)
    assert set(served) == {"serving_default", "images", "nearest", "match"}


def nearest_by_loop(query: np.ndarray, gallery, k: int) -> list[tuple[float, bytes, bytes]]:
    """By the definition: ordered by distance, then by id."""
    found = [(sum((query - vector) ** 2), key, label) for key, label, vector in gallery]
    return sorted(found)[:k]


@pytest.mark.parametrize("k", [1, 3, 16, 99])
def test_nearest_finds_what_a_loop_finds(full, gallery, k: int) -> None:
    queries = full.answer("images", images=IMAGES)["embedding"]
    found = full.answer("nearest", images=IMAGES, k=k)
    assert found["ids"].shape == (20, min(k, 16))
    for row, query in enumerate(queries):
        distances, ids, labels = zip(*nearest_by_loop(query, gallery, k), strict=True)
        np.testing.assert_allclose(found["distances"][row], distances, atol=1e-6)
        assert (found["ids"][row].tolist(), found["labels"][row].tolist()) == (
            list(ids), list(labels)
        )  # fmt: skip
    twins = [b"a-twin", ROWS[0][2], b"z-twin"]
    assert found["ids"][0, :3].tolist() == twins[: min(k, 3)]


def test_of_several_k_the_largest_counts(full) -> None:
    """A server that joins requests gives each row its own."""
    several = full.answer("nearest", images=IMAGES[:2], k=[2, 3])
    one = full.answer("nearest", images=IMAGES[:2], k=3)
    for name, values in one.items():
        np.testing.assert_array_equal(several[name], values)


def test_match_is_whether_the_distance_is_below_the_threshold(full) -> None:
    a, b = [IMAGES[0], *IMAGES[:19]], [IMAGES[0], *IMAGES[1:]]
    found = full.answer("match", a=a, b=b)
    first, second = (full.answer("images", images=side)["embedding"] for side in (a, b))
    distances = np.sum((first - second) ** 2, axis=1)
    np.testing.assert_allclose(found["distance"], distances, atol=1e-6)
    assert found["same"].tolist() == (found["distance"] < np.float32(THRESHOLD)).tolist()
    assert found["same"][0]
    assert len(set(found["same"].tolist())) == 2


def test_a_batch_of_none(full) -> None:
    assert full.answer("images", images=[])["embedding"].shape == (0, 8)
    assert full.answer("serving_default", examples=[])["embedding"].shape == (0, 8)
    nearest = full.answer("nearest", images=[], k=3)
    assert {values.shape for values in nearest.values()} == {(0, 3)}
    assert {values.shape for values in full.answer("match", a=[], b=[]).values()} == {(0,)}


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("images", {"images": [IMAGES[:2]]}),
        ("nearest", {"images": [IMAGES[:2]], "k": 1}),
        ("match", {"a": [IMAGES[:2]], "b": [IMAGES[:2]]}),
        ("serving_default", {"examples": [IMAGES[:2]]}),
    ],
)
def test_more_dimensions_are_refused(full, signature: str, inputs: dict) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"\[1,2\] is not compatible with"):
        full.answer(signature, **inputs)


@pytest.mark.parametrize(
    ("signature", "inputs", "named"),
    [
        ("images", {"images": [IMAGES[0], b"text", jpeg(IMAGES[1]), jpeg(IMAGES[1])[:-60],
                               IMAGES[2][:-20], b""]},
         "4 of the images cannot be decoded: images, row 1; images, row 3; images, row 4; images, "
         "row 5. "),
        ("match", {"a": [IMAGES[0]], "b": [b"text"]}, "1 of the images .*: b, row 0. "),
    ],
)  # fmt: skip
def test_bad_images_of_a_batch_are_named(full, signature: str, inputs: dict, named: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=named):
        full.answer(signature, **inputs)


def test_one_bad_image_says_why(full) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="neither JPEG, PNG, WebP, BMP nor"):
        full.answer("images", images=[b"text"])


def test_what_looks_cut_and_is_not_is_embedded(full) -> None:
    """A PNG with something behind it."""
    wanted = full.answer("images", images=IMAGES[:2])["embedding"]
    found = full.answer("images", images=[IMAGES[0] + b"behind", IMAGES[1]])["embedding"]
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_faults_of_a_request_are_told(full) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"k must be at least 1, not\] \[0\]"):
        full.answer("nearest", images=IMAGES[:1], k=0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a and b must have as many images"):
        full.answer("match", a=IMAGES[:2], b=IMAGES[:1])


def test_a_model_without_gallery_and_threshold_says_so(bare: ServingSession) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match="no gallery to search"):
        bare.answer("nearest", images=IMAGES[:1], k=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="no calibrated threshold"):
        bare.answer("match", a=IMAGES[:1], b=IMAGES[:1])


def test_two_versions_in_one_process_share_no_gallery(version, exported, tmp_path) -> None:
    other = tmp_path / "8"
    shutil.copytree(exported, other)
    write_flat_index(other, np.eye(8, dtype=np.float32)[:1], ids=[b"only"], labels=[None])
    write_gallery_assets(f"{other}/index/gallery.parquet", str(other))
    # Both loaded before either is asked.
    served = [tf.saved_model.load(str(folder)) for folder in (version, other)]
    found = [
        one.signatures["nearest"](images=tf.constant(IMAGES[:1]), k=tf.constant(1))["ids"]
        .numpy().tolist()
        for one in served
    ]  # fmt: skip
    assert found == [[[b"a-twin"]], [[b"only"]]]


def test_what_a_push_fills_is_no_part_of_the_fingerprint(version, exported) -> None:
    assert takes_assets(exported)
    assert model_fingerprint(str(version)) == model_fingerprint(exported)
    assert (version / SIGNATURE_ASSETS[0]).read_bytes() != Path(
        exported, SIGNATURE_ASSETS[0]
    ).read_bytes()
