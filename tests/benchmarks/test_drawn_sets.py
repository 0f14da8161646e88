"""The drawn sets: the same bytes from the same seed, and classes that can be told apart."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tfx.components.example_gen import base_example_gen_executor as tfx_example_gen

from components.image_example_gen import hash_split
from modules.contract import make_example
from tests.benchmarks import drawn_classes as characters
from tests.benchmarks.drawn_classes import drawn_classes
from tests.benchmarks.drawn_copies import drawn_copies
from tests.benchmarks.drawn_objects import drawn_faces, drawn_products
from tests.benchmarks.quality_sets import SETS, ready_faces
from tests.real_data import Row

DRAWN = {
    drawn_classes: (28, 28),
    drawn_faces: (48, 48),
    drawn_products: (64, 64, 3),
    drawn_copies: (64, 64, 3),
}


def decode(rows: list[Row]) -> np.ndarray:
    return np.stack([np.asarray(Image.open(io.BytesIO(image)), float) for image, _, _ in rows])


@pytest.mark.parametrize("draw", DRAWN)
def test_the_same_seed_draws_the_same_bytes_and_another_one_other_classes(draw):
    rows = draw(3, 2, seed=1)
    assert rows == draw(3, 2, seed=1)
    other = draw(3, 2, seed=2)
    assert not {label for _, label, _ in rows} & {label for _, label, _ in other}
    assert not {image for image, _, _ in rows} & {image for image, _, _ in other}


@pytest.mark.parametrize(("draw", "shape"), DRAWN.items())
def test_a_class_has_so_many_different_images(draw, shape):
    rows = draw(3, 4, seed=0)
    assert decode(rows).shape == (12, *shape)
    labels, counts = np.unique([label for _, label, _ in rows], return_counts=True)
    assert len(labels) == 3
    assert counts.tolist() == [4, 4, 4]
    assert len({image for image, _, _ in rows}) == len({name for _, _, name in rows}) == 12


def test_twins_share_all_strokes_but_one():
    glyphs = characters._glyphs(6, twins=True, rng=np.random.default_rng(0))
    for glyph, twin in zip(glyphs[::2], glyphs[1::2], strict=True):
        moved = np.linalg.norm(glyph - twin, axis=2)
        assert np.count_nonzero(moved) == 1
        assert moved.max() == pytest.approx(characters.BEND)


def test_a_twin_is_nearer_than_other_classes_and_farther_than_its_own_images(monkeypatch):
    monkeypatch.setattr(characters, "NOISE", 0.0)
    monkeypatch.setattr(characters, "JITTER", 0.01)
    means = decode(drawn_classes(20, 20, seed=0)).reshape(20, 2, 10, -1).mean(axis=2)
    first, second = means[:, 0], means[:, 1]  # of two halves of the images of a class
    own = np.linalg.norm(first - second, axis=1)
    between = np.linalg.norm(first[:, None] - second, axis=2)
    twin = np.arange(20) ^ 1
    others = between[(np.arange(20) ^ np.arange(20)[:, None]) > 1]
    assert own.mean() < between[np.arange(20), twin].mean() < others.mean()


@pytest.mark.parametrize(("name", "classes", "images"), [("faces", (31, 9), (310, 90))])
def test_unseen_classes_are_not_in_the_training(name, classes, images):
    data = SETS[name](0)
    parts = [{label for _, label, _ in rows} for rows in (data.train, data.tests["unseen"])]
    assert tuple(map(len, parts)) == classes
    assert not parts[0] & parts[1]
    assert (len(data.train), len(data.tests["unseen"])) == images
    assert decode(data.train[:1]).shape[1:] == (data.image.height, data.image.width)


def test_the_ready_faces_are_parted_as_the_recipe_parts_them(tmp_path):
    """By what TFX parts examples with."""
    split = hash_split(0.2, by="label").split_config
    of_part: list[set[bytes]] = [set(), set()]
    for number in range(1, 41):
        name = f"s{number}"
        (tmp_path / name).mkdir()
        Image.new("L", (5, 6)).save(tmp_path / name / "1.pgm")
        part = tfx_example_gen._PartitionFn(
            make_example(b"", name.encode(), b""), 2, [800, 1000], split
        )
        of_part[part].add(name.encode())
    data = ready_faces(tmp_path)
    found = [{label for _, label, _ in rows} for rows in (data.train, data.tests["unseen"])]
    assert found == of_part
    assert list(map(len, found)) == [31, 9]
