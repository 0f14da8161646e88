"""Whatever is wrong with a file, the run goes on and says what; through the real executor."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from components.image_example_gen import ImageExampleGen, executor
from components.image_example_gen.faults import check_image
from components.spans import list_files
from modules.contract import IMAGE
from modules.images import decode_to_array
from tests.components.image_example_gen.test_image_example_gen import (
    digit,
    fingerprint,
    png_declaring,
    run,
    write_files,
)
from tests.modules.images.image_files import CONVERTED, PORTABLE, chunk, encoded, seen

WHITE = (255, 255, 255)


def test_whatever_the_pattern_finds_is_read_or_listed(tmp_path) -> None:
    root = tmp_path / "in"
    good = {f"{row % 2}/{row:02d}.png": digit(row) for row in range(20)}
    write_files(root, good)
    folder = root / "0"
    (folder / "folder.png").mkdir()
    os.mkfifo(folder / "pipe.png")
    (folder / "dead.png").symlink_to("nowhere")
    (folder / "loop.png").symlink_to("loop.png")
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff\x1b[31m.png")).write_bytes(digit(0))
    (folder / "bomb.png").write_bytes(png_declaring(30_000, 30_000))
    write_files(root, {"1/ok.txt": b"", "2/.hidden.png": b""})
    first = fingerprint(root)  # of the driver, which looks at the same files
    node = ImageExampleGen(str(root), max_undecodable_fraction=0.5)
    examples, splits = run(node, tmp_path / "out")

    assert fingerprint(root) == first
    assert sorted({**splits["train"], **splits["eval"]}) == sorted(good)
    assert examples.get_int_custom_property("undecodable") == 6
    lines = (tmp_path / "out" / executor.UNDECODABLE_FILE).read_text().splitlines()
    assert lines == [
        "0/\\xff\\x1b[31m.png\tthe name of the file or of its class is not UTF-8",
        "0/bomb.png\tdeclares 30000 × 30000 pixels, more than 50,000,000",
        "0/dead.png\tthe file cannot be read (No such file or directory)",
        "0/folder.png\ta folder, not a file",
        "0/loop.png\tthe file cannot be read (Too many levels of symbolic links)",
        "0/pipe.png\ta pipe, not a file",
    ]


@pytest.mark.parametrize("pattern", ["*/*", "train/*/*"])
def test_a_folder_that_cannot_be_listed_is_named(pattern) -> None:
    """By a user who may not; root may all, so it becomes somebody else for a while."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as base:
        inner = Path(base, "train", "closed")
        inner.mkdir(parents=True)
        for folder in (Path(base), inner.parent):
            folder.chmod(0o755)
        closed = inner if pattern.startswith("train") else inner.parent
        closed.chmod(0o700 if is_root else 0)
        if is_root:
            os.seteuid(65534)
        try:
            with pytest.raises(ValueError, match=f"{closed.name} cannot be listed"):
                list_files(base, pattern)
        finally:
            if is_root:
                os.seteuid(0)
            closed.chmod(0o700)  # or it could not be removed


def test_a_class_that_is_a_link_to_nothing_is_named(tmp_path) -> None:
    (tmp_path / "cats").symlink_to("nowhere")
    with pytest.raises(ValueError, match="cats cannot be listed"):
        list_files(str(tmp_path), "*/*")


def test_the_root_is_literal(tmp_path) -> None:
    root = tmp_path / "a [b]* ?~\\ é"
    write_files(root, {"c/1.png": b"", "c[d]/2.png": b""})
    write_files(tmp_path / "a b é", {"c/3.png": b""})
    assert list_files(str(root), "*/*") == [f"{root}/c/1.png", f"{root}/c[d]/2.png"]


def test_converted_images_keep_what_is_seen(tmp_path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), np.uint8)
    writers = CONVERTED | PORTABLE
    files = {f"a/{name}.{name.split()[0]}": write(pixels, 0) for name, write in writers.items()}
    write_files(tmp_path / "in", {**files, **{f"b/{row}.png": digit(row) for row in range(20)}})
    examples, splits = run(ImageExampleGen(str(tmp_path / "in")), tmp_path / "out")
    found = {**splits["train"], **splits["eval"]}
    for name, file in files.items():
        image = found[name][IMAGE]
        assert image.startswith(b"\x89PNG")
        np.testing.assert_array_equal(decode_to_array(image), seen(file, WHITE, 3))
    assert examples.get_int_custom_property("converted") == len(files)
    counts = json.loads((tmp_path / "out" / executor.COUNTS_FILE).read_text())
    assert counts["converted"] == {".webp": 1, ".bmp": 3, ".gif": 1, ".pgm": 2, ".ppm": 1}


def test_exif_data_behind_the_pixels_turn_too() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4), np.uint8)
    plain = encoded(Image.fromarray(pixels), "PNG")
    turned = encoded(Image.fromarray(pixels), "PNG", 6)
    at = turned.index(b"eXIf") - 4
    length = int.from_bytes(turned[at : at + 4], "big")
    exif = turned[at + 8 : at + 8 + length]
    late = plain[:-12] + chunk(b"eXIf", exif) + plain[-12:]
    checked = check_image(late, 1_000)
    assert checked.converted
    np.testing.assert_array_equal(decode_to_array(checked.image), decode_to_array(turned))


def test_classes_that_look_the_same_are_noted(tmp_path) -> None:
    names = ["caf\u00e9", "cafe\u0301", "Dog", "dog", "cat"]
    write_files(
        tmp_path / "in",
        {f"{name}/{row}.png": digit(row) for name in names for row in range(6)},
    )
    examples, _ = run(ImageExampleGen(str(tmp_path / "in")), tmp_path / "out")
    assert examples.get_int_custom_property("similar_classes") == 2
    counts = json.loads((tmp_path / "out" / executor.COUNTS_FILE).read_text())
    assert counts["similar_classes"] == [["Dog", "dog"], ["cafe\\u0301", "caf\\xe9"]]
