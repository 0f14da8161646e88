"""What is read of TripletGen's files beside the batches."""

from __future__ import annotations

from collections import Counter

import pytest
import tensorflow as tf

from modules.batches.reading import count_classes, fingerprint, labelled_images
from tests.modules.batches.triplet_files import digit_shards, write_shards
from tests.real_data import digits


def test_classes_are_counted_by_the_fingerprint_of_their_name(tmp_path) -> None:
    counts = count_classes(digit_shards(tmp_path, per_class=6, count=3))
    names = [str(digit) for digit in range(10)]
    assert counts == dict.fromkeys(sorted(fingerprint(tf.constant(names)).numpy().tolist()), 18)
    assert list(counts) == sorted(counts)


def test_copies_are_not_counted(tmp_path) -> None:
    zero, another, one = [*digits(2, classes=[0]), *digits(1, classes=[1])]
    copies = digits(4, start=10, classes=[1])
    pattern = write_shards(tmp_path, [[(zero, another, one)]], copies, copy=1)
    assert sorted(count_classes(pattern).values()) == [1, 2]


@pytest.mark.parametrize("limit", [None, 1, 7, 61, 180, 1000])
def test_images_come_from_all_files_each_once(tmp_path, limit: int | None) -> None:
    """Three files of 60 digits: 6 of each class from 0, from 6 and from 12 on."""
    data = labelled_images(digit_shards(tmp_path), limit)
    rows = list(zip(*data, strict=True))
    assert len(rows) == len(set(rows)) == min(180, limit or 180)
    assert set(rows) <= set(digits(18))
    place = {row: number for number, row in enumerate(digits(18))}
    in_file = Counter(place[row] % 18 // 6 for row in rows)
    assert max(in_file.values()) - min(in_file[file] for file in range(3)) <= 1


def test_short_files_leave_their_share_to_the_others(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    short = digit_shards(tmp_path / "a", per_class=2, count=1)
    digit_shards(tmp_path / "b", per_class=9, count=2)
    long = [f"{tmp_path}/b/triplets-00001*"]
    assert len(labelled_images(short + long, 60).ids) == 60


def test_nothing_to_read_is_an_error(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"No triplet files match .*nothing"):
        labelled_images([f"{tmp_path}/nothing*"])
    empty = tmp_path / "empty"
    tf.io.TFRecordWriter(str(empty)).close()
    with pytest.raises(ValueError, match="no images in"):
        labelled_images([str(empty)])
