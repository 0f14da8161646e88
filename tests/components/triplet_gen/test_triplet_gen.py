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
import tensorflow as tf
from PIL import Image
from tfx import types
from tfx.orchestration import data_types
from tfx.types import artifact_utils, standard_artifacts

from components.triplet_gen import TripletGen
from modules.contract import ROLES, make_example
from modules.settings import TripletSettings
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


def write_split(
    root: Path, records: list[bytes], compression="GZIP"
) -> standard_artifacts.Examples:
    artifact = examples_artifact(root, {"train": []}, shards=1)
    (path,) = (root / "Split-train").iterdir()
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for record in records:
            writer.write(record)
    return artifact


def without(feature: str, row) -> bytes:
    example = make_example(*row)
    del example.features.feature[feature]
    return example.SerializeToString()


def with_two_labels(row) -> bytes:
    example = make_example(*row)
    example.features.feature["label"].bytes_list.value.append(b"3")
    return example.SerializeToString()


def with_int_label(row) -> bytes:
    example = make_example(*row)
    example.features.feature["label"].int64_list.value.append(3)
    return example.SerializeToString()


def serialized(rows) -> list[bytes]:
    return [make_example(*row).SerializeToString() for row in rows]


PAIRS = digits(2)  # of each digit


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "has no examples. Give it a larger share of the data"),
        (serialized(digits(9, classes=[4])), "all 9 examples have the label '4'.*second class"),
        (serialized(digits(1)), "each of its 10 classes has a single example.*Add images"),
        (serialized(digits(3, classes=range(3))), "its 3 classes are too small to hold out images"),
        (
            [*serialized(PAIRS), without("label", PAIRS[3]), without("label", PAIRS[4])],
            rf"\(label: 2\), such as id '{PAIRS[3][2].decode()}'.*ImageExampleGen",
        ),
        ([*serialized(PAIRS), without("id", PAIRS[0])], r"\(id: 1\), such as record 20 of .*gz"),
        ([without("image", PAIRS[0])], r"\(image: 1\)"),
        (serialized([(b"", b"1", b"a"), *PAIRS]), r"\(image: 1\), such as id 'a'"),
        (
            [*serialized(PAIRS), with_int_label(PAIRS[0])],
            r"unreadable files \(1\), such as .*gz: .*Key: label, Index: 20.*int64.*one bytes",
        ),
        (
            [*serialized(PAIRS), with_two_labels(PAIRS[0])],
            r"unreadable files \(1\), such as .*gz: .*Key: label, Index: 20",
        ),
        (
            [b"no tf.Example"],
            r"-00000-of-00001.gz: Could not parse .*: 'no tf.Example'\. Each must",
        ),
        (
            serialized([*PAIRS, PAIRS[5]]),
            rf"ids are not unique \(1 repeated, such as '{PAIRS[5][2].decode()}'\)",
        ),
        (
            serialized(
                [(b"png", label, i) for label in (b"0", b"1") for i in (b"u", b"v", b"x", b"y")]
            ),
            r"ids are not unique \(4 repeated, such as 'u'\)",
        ),
    ],
)
def test_errors_of_the_data_name_split_place_and_remedy(tmp_path, records, message):
    examples = write_split(tmp_path / "examples", records)
    with pytest.raises(ValueError, match=message) as error:
        make(tmp_path / "out", examples)
    assert "split 'train'" in str(error.value)
    assert f"{tmp_path}/examples/Split-train" in str(error.value)
    assert error.value.__cause__ is None  # nothing of Beam around it
    assert not (tmp_path / "out" / ".tmp").exists()
    assert not (tmp_path / "out" / "triplets.json").exists()


def test_an_id_under_two_labels_is_found_in_any_buckets(tmp_path):
    rows = digits(3)
    copies = [(image, b"%d" % ((int(label) + 1) % 10), i) for image, label, i in rows[::2]]
    examples = examples_artifact(tmp_path / "examples", {"train": rows + copies}, shards=3)
    message = rf"ids are not unique \(15 repeated, such as '{rows[0][2].decode()}'\)"
    with pytest.raises(ValueError, match=message):  # the first id in their order
        make(tmp_path / "out", examples, bucket_size=2)
    assert not list((tmp_path / "out").glob("Split-*/*"))


def test_uncompressed_input_is_an_error(tmp_path):
    examples = write_split(tmp_path / "examples", serialized(PAIRS), compression="")
    message = r"\.gz: inflate\(\) failed with error -3: incorrect header check\. Each must be a gz"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples)


def test_a_split_without_files_is_an_error(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS, "eval": []}, shards=0)
    with pytest.raises(ValueError, match=r"split 'train' .*has no examples"):
        make(tmp_path / "out", examples)


def test_an_unknown_split_is_an_error(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS})
    with pytest.raises(ValueError, match=r"split 'test' is not in .*which has 'train'\. Name one"):
        make(tmp_path / "out", examples, train_split="test")


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            {"triplets_per_anchor": 0},
            "TripletGen: triplets_per_anchor .found 0.: .* or equal to 1",
        ),
        ({"bucket_size": 1}, "TripletGen: bucket_size .found 1.: .* greater than or equal to 2"),
        ({"max_per_class": -1}, "max_per_class .found -1.: .* greater than or equal to 0"),
        (
            {"strategy": "easy"},
            "strategy .found 'easy'.: .*'random', 'class_balanced', ",
        ),
        (
            {"positives": "semi_hard"},
            "positives .found 'semi_hard'.: .*'random' or 'hard'",
        ),
        (
            {"strategy": "hard", "positives": "hard", "triplets_per_anchor": 2},
            "only the negatives of an anchor differ, among nearest = 1, so triplets_per_anchor = 2 "
            "would repeat some. Set nearest = 2, triplets_per_anchor = 1 or positives = 'random'",
        ),
        ({"nearest": 2}, "nearest = 2 has no effect with strategy = 'random': set strategy to"),
        (
            {"skip_nearest": 1, "strategy": "class_balanced"},
            "skip_nearest = 1 has no effect with strategy = 'class_balanced'.* or remove skip_",
        ),
        ({"least_ratio": 0.5, "positives": "hard"}, "least_ratio = 0.5 has no effect with strat"),
        (
            {"least_ratio": 1.0, "strategy": "semi_hard"},
            "least_ratio = 1.0 has no effect .*Set strategy = 'hard', or least_ratio above 1",
        ),
        ({"buckets": "classes"}, "buckets .found 'classes'.: .*'hash' or 'neighbourhood'"),
        ({"validation": "eval"}, "validation .found 'eval'.: .*'auto', 'images' or 'classes'"),
        ({"validation_fraction": 0.0}, "validation_fraction .found 0.0.: .* greater than 0"),
        ({"validation_fraction": 0.6}, "validation_fraction .found 0.6.: .* equal to 0.5"),
        ({"validation_images": 1}, "validation_images .found 1.: .* equal to 2"),
        (
            {"eval_split": "train"},
            "train_split is 'train' and eval_split is 'train', but they must be",
        ),
        ({"train_split": ""}, "train_split is '' .* the names of two splits"),
    ],
)
def test_settings_out_of_range_are_errors_of_constructor_and_executor(
    tmp_path, properties, message
):
    channel = types.Channel(type=standard_artifacts.Examples)
    with pytest.raises(ValueError, match=message):
        TripletGen(channel, **properties)
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS})
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, **properties)


def test_component_passes_its_settings_on():
    channel = types.Channel(type=standard_artifacts.Examples)
    seed = data_types.RuntimeParameter(name="seed", ptype=int, default=3)
    node = TripletGen(channel, triplets_per_anchor=2, seed=seed, train_split="a")
    assert node.exec_properties["triplets_per_anchor"] == 2
    assert node.exec_properties["bucket_size"] == 4096
    assert node.exec_properties["seed"] is seed
    assert node.exec_properties["strategy"] == node.exec_properties["positives"] == "random"
    assert node.exec_properties["max_per_class"] == 0
    assert node.exec_properties["train_split"] == "a"
    assert node.exec_properties["eval_split"] == "eval"
    defaults = TripletSettings().model_dump(exclude={"rounds_on_same_data"})
    assert TripletGen(channel).exec_properties.items() >= defaults.items()
    assert node.outputs["triplets"].type is standard_artifacts.Examples


def test_component_takes_a_model():
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)
    node = TripletGen(examples, model=model, strategy="hard")
    assert node.inputs["model"] is model
    assert "model" not in TripletGen(examples, strategy="hard").inputs


def test_an_id_in_two_spans_of_a_window_is_refused(tmp_path: Path) -> None:
    rows = digits(4)
    spans = [
        examples_artifact(tmp_path / f"span-{number}", {"train": part})
        for number, part in enumerate((rows, [*digits(4, start=4), rows[7]]))
    ]
    message = rf"span-0.*span-1.*not unique \(1 repeated, such as '{rows[7][2].decode()}'\)"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", spans)
