"""Counting what there is to train on."""

from __future__ import annotations

from modules.batches.reading import count_images
from tests.modules.batches.test_of_classes import digit_shards


def test_images_and_classes_are_counted_once(tmp_path) -> None:
    assert count_images(digit_shards(tmp_path, per_class=6, count=3)) == (180, 10)
