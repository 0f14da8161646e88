"""Decoded pixels in memory, in a file, or not kept: the same batches, and no file that stays."""

from __future__ import annotations

import gc
import logging
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from modules.batches import CacheLimits, class_batches, neighbour_batches, triplet_batches
from modules.batches.pixel_cache import NO_CACHE, keep_pixels
from modules.settings import TrainingSettings
from modules.training.fitting import training_batches
from tests.modules.batches.triplet_files import digit_shards, take
from tests.real_data import digits

COUNT = 180
BYTES = COUNT * 20 * 20 * 4
ROWS = np.array([image for image, _, _ in digits(4)], object)
SHAPE = (len(ROWS), 20, 20, 1)
SIZE = len(ROWS) * 20 * 20 * 4

KINDS = {
    "classes": lambda files, pixels, **rest: class_batches(files, pixels, 4, 3, 0, **rest),
    "triplets": lambda files, pixels, **rest: triplet_batches(files, pixels, 12, 0, **rest),
    "neighbours": lambda files, pixels, **rest: neighbour_batches(files, pixels, 36, 0, **rest),
}


def pixels(encoded: tf.Tensor) -> tf.Tensor:
    """Resampled, so no integers; what `decode_images` does takes longer to trace."""
    return tf.map_fn(
        lambda image: tf.image.resize(tf.io.decode_png(image, 1), [20, 20]),
        encoded,
        fn_output_signature=tf.TensorSpec([20, 20, 1], tf.float32),
    )


def mapped(folder: Path) -> int:
    """How many files of the folder this process has mapped; a removed one counts."""
    return sum(str(folder) in line for line in Path("/proc/self/maps").read_text().splitlines())


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file of this process may get longer than 1,000 bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[str]:
    return digit_shards(tmp_path_factory.mktemp("shards"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pool_bytes", [2**30, 20_000, 1])
def test_the_same_batches_wherever_pixels_are_kept(shards, tmp_path, kind, pool_bytes) -> None:
    """All files in one pool, two in each, one in each; more than two passes, the first one cut."""
    decoded: list[int] = []

    def counting(encoded: tf.Tensor) -> tf.Tensor:
        tf.py_function(lambda count: decoded.append(int(count)), [tf.size(encoded)], [])
        return pixels(encoded)

    def run(cache: CacheLimits) -> tuple[list[tuple[np.ndarray, np.ndarray]], int]:
        decoded.clear()
        make: Callable[..., tf.data.Dataset] = KINDS[kind]
        dataset = make(shards, counting, skip=2, cache=cache, pool_bytes=pool_bytes)
        return take(dataset, 45), sum(decoded)

    plain, _ = run(NO_CACHE)
    for cache in (CacheLimits(memory=BYTES), CacheLimits(BYTES - 1, BYTES, str(tmp_path))):
        kept, once = run(cache)
        assert once == COUNT + 1  # one more to learn the shape
        for (a, a_labels), (b, b_labels) in zip(plain, kept, strict=True):
            assert a.tobytes() == b.tobytes()
            np.testing.assert_array_equal(a_labels, b_labels)
    _, often = run(CacheLimits(BYTES - 1, BYTES - 1, str(tmp_path)))
    assert often > 2 * COUNT
    assert not any(tmp_path.iterdir())


@given(cuts=st.sets(st.integers(0, len(ROWS))), memory=st.booleans())
@settings(max_examples=5, deadline=None)
def test_pixels_come_in_order_however_they_are_parted(tmp_path_factory, cuts, memory) -> None:
    parts = np.split(ROWS, sorted(cuts))
    folder = tmp_path_factory.getbasetemp()
    limits = CacheLimits(SIZE) if memory else CacheLimits(0, SIZE, str(folder))
    found = keep_pixels(parts, SHAPE, pixels, limits)
    np.testing.assert_array_equal(found.take(range(len(ROWS))), pixels(tf.constant(ROWS)).numpy())


@pytest.mark.parametrize(
    ("memory", "disk", "place"),
    [
        (SIZE, SIZE, "memory"),
        (SIZE, 0, "memory"),
        (SIZE - 1, SIZE, "disk"),
        (0, SIZE, "disk"),
        (SIZE - 1, SIZE - 1, None),
        (0, 0, None),
    ],
)
def test_memory_first_then_the_disk_then_nothing(tmp_path, memory, disk, place) -> None:
    folder = tmp_path / "made"
    found = keep_pixels([ROWS], SHAPE, pixels, CacheLimits(memory, disk, str(folder)))
    assert (found is not None) == bool(place)
    assert mapped(folder) == (place == "disk")
    assert folder.exists() == (place == "disk")


def test_the_settings_of_a_training_say_how_much(shards, tmp_path) -> None:
    """180 images of 20 × 20 take 0.28 MB."""
    for memory, disk, files in ((1, 1, 0), (0, 1, 1), (0, 0, 0)):
        chosen = TrainingSettings(cache_megabytes=memory, disk_cache_megabytes=disk)
        dataset = training_batches(shards, pixels, chosen, 36, scratch=str(tmp_path))
        assert mapped(tmp_path) == files
        del dataset
        gc.collect()


def test_the_file_has_no_name_and_goes_with_the_last_who_reads_it(shards, tmp_path) -> None:
    cache = CacheLimits(0, BYTES, str(tmp_path))
    dataset = class_batches(shards, pixels, 4, 3, 0, cache=cache)
    take(dataset, 2)
    assert mapped(tmp_path) == 1
    assert not any(tmp_path.iterdir())
    iterator = iter(dataset)
    del dataset
    gc.collect()
    assert len(next(iterator)[0]) == len(next(iterator)[0]) == 12
    del iterator
    gc.collect()
    assert mapped(tmp_path) == 0


@pytest.mark.parametrize("memory", [0, 2**30])
def test_pixels_are_there_once_however_often_they_are_read(tmp_path, memory) -> None:
    """Of 64 MB in all; the memory of this process that is of no file."""

    def own() -> float:
        [kilobytes] = re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(kilobytes) / 1024

    shape = (16, 1024, 1024, 1)
    blank = tf.io.encode_png(np.zeros([4, 4, 1], np.uint8)).numpy()
    kept = keep_pixels(
        [np.array([blank] * 16, object)], shape, lambda rows: tf.ones([len(rows), *shape[1:]]),
        CacheLimits(memory, 2**30, str(tmp_path)),
    )  # fmt: skip
    before = own()
    rows = tf.data.Dataset.range(16).batch(1).map(kept.take)
    for _ in range(3):
        assert sum(float(batch[0, 0, 0, 0]) for batch in rows) == 16
    assert own() - before < 40


def test_a_killed_training_leaves_no_file(shards, tmp_path) -> None:
    code = f"""
import os, signal
from modules.batches import CacheLimits, class_batches
from tests.modules.batches.test_pixel_cache import mapped, pixels
cache = CacheLimits(0, {BYTES}, {str(tmp_path)!r})
for _ in class_batches({shards!r}, pixels, 4, 3, 0, cache=cache).take(1):
    assert mapped({str(tmp_path)!r}) == 1
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    assert not any(tmp_path.iterdir())


@pytest.mark.usefixtures("small_files")
def test_a_full_disk_means_to_decode_each_time(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING, "absl"):
        limits = CacheLimits(0, SIZE, str(tmp_path))
        assert keep_pixels([ROWS], SHAPE, pixels, limits) is None
    assert "cannot be kept on disk" in caplog.text
    assert "training.disk_cache_megabytes = 0" in caplog.text
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("fault", ["half of what is free", "no folder"])
def test_nothing_is_decoded_where_it_could_not_be_kept(tmp_path, caplog, fault) -> None:
    folder = tmp_path / "folder"
    shape = SHAPE
    if fault == "no folder":
        folder.write_text("a file")
    else:
        shape = (10**12, *SHAPE[1:])

    def decoding(encoded: tf.Tensor) -> tf.Tensor:
        raise AssertionError(encoded)

    with caplog.at_level(logging.WARNING, "absl"):
        limits = CacheLimits(0, 10**18, str(folder))
        assert keep_pixels([ROWS], shape, decoding, limits) is None
    assert ("free, of which half" if shape != SHAPE else str(folder)) in caplog.text
