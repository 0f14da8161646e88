"""TripletGen through its real executor: real digits, real Beam, real files."""

from __future__ import annotations

import io
import itertools
import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tfx.types import artifact_utils

from modules.contract import ROLES
from tests.components.triplet_gen.triplet_node import (
    check,
    contents,
    images,
    make,
    read,
    read_files,
)
from tests.real_data import digits, examples_artifact, png


@pytest.mark.parametrize("bucket_size", [2, 40, 4096])
@pytest.mark.parametrize("triplets_per_anchor", [1, 3])
def test_guarantees(tmp_path, bucket_size, triplets_per_anchor):
    rows = digits(30)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(
        tmp_path / "out",
        examples,
        bucket_size=bucket_size,
        triplets_per_anchor=triplets_per_anchor,
    )
    train = check(output, rows, triplets_per_anchor)
    assert output.get_int_custom_property("triplets") == len(train) * triplets_per_anchor
    # The names tell how many buckets of bucket_size there are.
    for part, size in (("train", len(train)), ("validation", 300 - len(train))):
        files = [name for name in contents(output) if name.startswith(f"Split-{part}/")]
        assert files
        assert all(name.endswith(f"-of-{-(-size // bucket_size):05d}.tfrecord") for name in files)


def test_the_output_is_as_large_as_the_input_whatever_is_asked(tmp_path):
    rows = digits(30)
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, triplets_per_anchor=20)
    size = sum(len(data) for name, data in contents(output).items() if "Split-" in name)
    # Beside each image its label, its id, names of features, and 40 numbers of up to two bytes.
    assert size < sum(len(image) for image, _, _ in rows) + 300 * 300


def test_neighbours_in_a_file_are_random(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(30)})
    output = make(tmp_path / "out", examples)
    for part in ("train", "validation"):
        labels = [label for _, label, _ in images(output, part)]
        # In class order all but nine of the neighbours would be equal, at random a tenth of them.
        assert sum(a == b for a, b in itertools.pairwise(labels)) < len(labels) / 3


def test_preview_shows_the_first_triplets(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(5)})
    output = make(tmp_path / "out", examples)
    sheet = Image.open(Path(output.uri, "preview-train.png"))
    # Tiles of 96 with a caption of 16 and gaps of 8: three columns, eight rows.
    assert sheet.size == (3 * (96 + 8) + 8, 8 * (96 + 16 + 8) + 8)
    for row, triplet in enumerate(read(output)[:8]):
        for column, role in enumerate(("anchor", "positive", "negative")):
            left, top = 8 + column * 104, 8 + row * 120 + 16
            digit = Image.open(io.BytesIO(triplet[role][0])).convert("RGB")
            tile = digit.resize((96, 96), Image.Resampling.NEAREST)
            assert sheet.crop((left, top, left + 96, top + 96)).tobytes() == tile.tobytes()


def test_preview_fits_any_shape_and_shows_broken_images_in_grey(tmp_path):
    thin = [np.zeros((2, 500), np.uint8), np.zeros((300, 1), np.uint8)]
    rows = [(png(thin[i % 2]), b"thin", b"%d" % i) for i in range(4)]
    rows += [(b"not an image", b"broken", b"%d" % i) for i in range(4, 8)]
    output = make(tmp_path / "out", examples_artifact(tmp_path / "examples", {"train": rows}))
    sheet = Image.open(Path(output.uri, "preview-train.png"))
    for row, triplet in enumerate(read(output)):
        for column, role in enumerate(("anchor", "positive", "negative")):
            left, top = 8 + column * 104, 8 + row * 120 + 16
            tile = sheet.crop((left, top, left + 96, top + 96))
            grey = tile.getcolors() == [(96 * 96, (220, 220, 220))]
            assert grey == (triplet[role][1] == b"broken")


def test_counts(tmp_path):
    rows = digits(40, classes=[0, 1, 2]) + digits(1, classes=[3, 4])
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, triplets_per_anchor=2, bucket_size=9)
    train = check(output, rows)
    expected = {
        "triplets": 2 * (len(train) - 2),
        "anchors": len(train) - 2,
        "anchors_without_positive": 2,
        "classes": 5,
        "train_images": len(train),
        "validation_images": 122 - len(train),
        "validation_classes": len({label for _, label, _ in images(output, "validation")}),
    }
    assert {name: output.get_int_custom_property(name) for name in expected} == expected
    texts = {
        "strategy": "random",
        "positives": "random",
        "sampled_by": "random",
        "positives_sampled_by": "random",
        "bucketed_by": "hash",
        "validation_by": "images",
    }
    sizes = output.get_string_custom_property("train_class_sizes")
    assert json.loads(sizes) == {"1": 2, "32-63": 3}
    assert json.loads(Path(output.uri, "triplets.json").read_text()) == {
        **expected,
        **texts,
        "train_class_sizes": {"1": 2, "32-63": 3},
    }
    assert {name: output.get_string_custom_property(name) for name in texts} == texts
    assert artifact_utils.decode_split_names(output.split_names) == ["train", "validation"]
    negatives = {triplet["negative"][1] for triplet in read(output)}
    assert negatives >= {b"3", b"4"}


@pytest.mark.parametrize("strategy", ["random", "class_balanced"])
@pytest.mark.parametrize("bucket_size", [16, 150, 4096])
def test_a_dominant_class_finds_its_negatives(tmp_path, bucket_size, strategy):
    rows = digits(300, classes=[0]) + digits(4, classes=[1])
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, bucket_size=bucket_size, strategy=strategy)
    train = check(output, rows)
    # Each of the two that remain is the negative of about half of the others.
    negatives = Counter(t["negative"][2] for t in read(output) if t["anchor"][1] == b"0")
    assert len(negatives) == 2
    total = negatives.total()
    assert total == len(train) - 2 or strategy == "class_balanced"
    assert all(abs(n - total / 2) < 4 * (total / 4) ** 0.5 for n in negatives.values())
    copies = [r for records in read_files(output) for r in records if r.copy]
    assert bool(copies) == (bucket_size < 300)


def test_output_depends_on_rows_and_seed_only(tmp_path):
    rows = digits(40)
    examples = examples_artifact(tmp_path / "a", {"train": rows})
    first = contents(make(tmp_path / "out", examples, bucket_size=90, triplets_per_anchor=2))
    assert len(first) > 3

    shuffled = random.Random(0).sample(rows, len(rows))
    examples = examples_artifact(tmp_path / "b", {"train": shuffled}, shards=5)
    assert first == contents(
        make(tmp_path / "out-b", examples, bucket_size=90, triplets_per_anchor=2)
    )

    halves = [
        examples_artifact(tmp_path / "c", {"train": shuffled[:170]}),
        examples_artifact(tmp_path / "d", {"train": shuffled[170:]}),
    ]
    assert first == contents(
        make(tmp_path / "out-cd", halves, bucket_size=90, triplets_per_anchor=2)
    )

    other = make(tmp_path / "out-e", examples, bucket_size=90, triplets_per_anchor=2, seed=1)
    pairs = {tuple(t[role][2] for role in ROLES) for t in read(other)}
    output = make(tmp_path / "out-f", examples, bucket_size=90, triplets_per_anchor=2)
    assert set(images(other, "validation")) != set(images(output, "validation"))
    common = pairs & {tuple(t[role][2] for role in ROLES) for t in read(output)}
    # A triplet repeats by chance with probability about 2 / (39 · 360).
    assert len(common) < len(pairs) / 20


@pytest.mark.slow
def test_the_same_bytes_on_two_worker_processes(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(40)}, shards=4)
    one = make(tmp_path / "one", examples, bucket_size=90)
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    two = make(tmp_path / "two", examples, workers, bucket_size=90)
    assert contents(one) == contents(two)


def test_a_second_run_replaces_what_a_first_left(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(20)})
    first = contents(make(tmp_path / "out", examples, bucket_size=50))
    make(tmp_path / "out", examples, bucket_size=20)
    (tmp_path / "out" / ".tmp").mkdir()
    (tmp_path / "out" / ".tmp" / "half-written").write_bytes(b"x")
    assert first == contents(make(tmp_path / "out", examples, bucket_size=50))
