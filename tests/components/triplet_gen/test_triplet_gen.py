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
from tests.components.triplet_gen.triplet_node import check, contents, make, read
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
    triplets = read(output)
    check(triplets, rows, triplets_per_anchor)
    assert output.get_int_custom_property("triplets") == 300 * triplets_per_anchor
    # 300 examples in buckets of bucket_size: the names tell how many there are.
    buckets = -(-300 // bucket_size)
    files = [name for name in contents(output) if name.startswith("Split-")]
    assert files
    assert all(name.endswith(f"-of-{buckets:05d}.tfrecord") for name in files)


def test_neighbours_in_a_file_are_random(tmp_path):
    examples = examples_artifact(tmp_path / "examples", {"train": digits(30)})
    triplets = read(make(tmp_path / "out", examples, triplets_per_anchor=2))
    labels = [triplet["anchor"][1] for triplet in triplets]
    # In class order 290 of 299 neighbours would be equal, at random 29/299 of them.
    assert sum(a == b for a, b in itertools.pairwise(labels[:300])) < 60
    ids = [triplet["anchor"][2] for triplet in triplets]
    assert ids[:300] == ids[300:]
    assert len(set(ids[:300])) == 300


def test_gallery_shows_the_first_triplets(tmp_path):
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


def test_gallery_fits_any_shape_and_shows_broken_images_in_grey(tmp_path):
    shapes = [np.zeros((2, 500), np.uint8), np.zeros((300, 1), np.uint8)]
    rows = [(png(pixels), b"thin", b"%d" % i) for i, pixels in enumerate(shapes)]
    rows.append((b"not an image", b"broken", b"2"))
    output = make(tmp_path / "out", examples_artifact(tmp_path / "examples", {"train": rows}))
    sheet = Image.open(Path(output.uri, "preview-train.png"))
    broken = sheet.crop((8 + 2 * 104, 24, 8 + 2 * 104 + 96, 24 + 96))
    assert broken.getcolors() == [(96 * 96, (220, 220, 220))]


def test_counts_of_several_splits_with_singletons(tmp_path):
    splits = {
        "train": digits(5, classes=[0, 1, 2]) + digits(1, classes=[3, 4]),
        "eval": digits(4, start=5, classes=[1, 2]) + digits(1, start=5, classes=[5]),
    }
    examples = examples_artifact(tmp_path / "examples", splits)
    output = make(
        tmp_path / "out", examples, splits='["train", "eval"]', triplets_per_anchor=2, bucket_size=9
    )
    expected = {
        "triplets": 2 * (15 + 8),
        "anchors": 15 + 8,
        "anchors_without_positive": 2 + 1,
        "classes": 6,
        "train_triplets": 2 * 15,
        "train_anchors": 15,
        "train_anchors_without_positive": 2,
        "train_classes": 5,
        "eval_triplets": 2 * 8,
        "eval_anchors": 8,
        "eval_anchors_without_positive": 1,
        "eval_classes": 3,
    }
    assert {name: output.get_int_custom_property(name) for name in expected} == expected
    # 5 of each of three classes and two singletons; 4 of each of two classes and a singleton.
    sizes = {"train_class_sizes": {"1": 2, "4-7": 3}, "eval_class_sizes": {"1": 1, "4-7": 2}}
    texts = {
        "strategy": "random",
        "positives": "random",
        "sampled_by": "random",
        "positives_sampled_by": "random",
    }
    assert json.loads(Path(output.uri, "triplets.json").read_text()) == expected | texts | sizes
    assert {name: output.get_string_custom_property(name) for name in texts} == texts
    for name, histogram in sizes.items():
        assert json.loads(output.get_string_custom_property(name)) == histogram
    assert artifact_utils.decode_split_names(output.split_names) == ["train", "eval"]
    for split, rows in splits.items():
        check(read(output, split), rows, 2)
    negatives = {triplet["negative"][1] for triplet in read(output)}
    assert negatives >= {b"3", b"4"}


@pytest.mark.parametrize("bucket_size", [16, 150, 4096])
def test_a_dominant_class_finds_its_negatives(tmp_path, bucket_size):
    rows = digits(300, classes=[0]) + digits(2, classes=[1])
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    triplets = read(make(tmp_path / "out", examples, bucket_size=bucket_size))
    check(triplets, rows, 1)
    # Each of the two is the negative of about half of the 300; 4 deviations are 35.
    negatives = Counter(t["negative"][2] for t in triplets if t["anchor"][1] == b"0")
    assert len(negatives) == 2
    assert all(abs(n - 150) < 4 * (300 / 4) ** 0.5 for n in negatives.values())


def test_files_stay_small_when_a_rare_class_has_half_of_the_triplets(tmp_path):
    rows = digits(300, classes=[0]) + digits(2, classes=[1])
    settings = {"strategy": "class_balanced", "bucket_size": 16, "triplets_per_anchor": 2}
    examples = examples_artifact(tmp_path / "examples", {"train": rows})
    output = make(tmp_path / "out", examples, **settings)
    files = [name for name in contents(output) if name.startswith("Split-")]
    # 302 · 2 / 2 triplets of the rare class in one bucket, 2 · 2 · 16 triplets or fewer in a file.
    parts = [name for name in files if "-part-" in name]
    (of,) = {name[-len("00005.tfrecord") :] for name in parts}
    assert int(of[:5]) == len(parts) >= 302 / 64
    sizes = {
        name: sum(1 for _ in tf.data.TFRecordDataset(str(Path(output.uri, name)))) for name in files
    }
    assert max(sizes.values()) <= 2 * max(2 * 16, 128)  # a block has up to about 128 rows
    assert all(sizes[name] <= 2 * 2 * 16 for name in parts)
    assert max(map(sizes.get, parts)) - min(map(sizes.get, parts)) <= 1
    anchors = Counter(triplet["anchor"][1] for triplet in read(output))
    assert abs(anchors[b"1"] - 302) <= 2
    assert anchors.total() == output.get_int_custom_property("triplets")

    shuffled = random.Random(0).sample(rows, len(rows))
    examples = examples_artifact(tmp_path / "shuffled", {"train": shuffled}, shards=5)
    assert contents(output) == contents(make(tmp_path / "again", examples, **settings))


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


PAIRS = digits(2)


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([], "has no examples. Give it a larger share .* or leave it out"),
        (serialized(digits(9, classes=[4])), "all 9 examples have the label '4'.*second class"),
        (serialized(digits(1)), "each of its 10 classes has a single example.*Add images"),
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
            serialized([(b"png", label, i) for label in (b"0", b"1") for i in (b"x", b"y")]),
            r"ids are not unique \(2 repeated, such as 'x'\)",
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
        make(tmp_path / "out", examples, splits='["train", "test"]')


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
            "an anchor has one triplet, so triplets_per_anchor = 2 .*Set triplets_per_anchor = 1",
        ),
        ({"splits": []}, r"splits is \[\], but must be a list of one or more"),
        ({"splits": ["a", "a"]}, "splits is .* different names"),
        ({"splits": "train"}, "splits is 'train', but must be a list"),
    ],
)
def test_settings_out_of_range_are_errors_of_constructor_and_executor(
    tmp_path, properties, message
):
    channel = types.Channel(type=standard_artifacts.Examples)
    with pytest.raises(ValueError, match=message):
        TripletGen(channel, **properties)
    examples = examples_artifact(tmp_path / "examples", {"train": PAIRS})
    if "splits" in properties:
        properties = {"splits": json.dumps(properties["splits"])}
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "out", examples, **properties)


def test_component_passes_its_settings_on():
    channel = types.Channel(type=standard_artifacts.Examples)
    seed = data_types.RuntimeParameter(name="seed", ptype=int, default=3)
    node = TripletGen(channel, triplets_per_anchor=2, seed=seed, splits=["train"])
    assert node.exec_properties["triplets_per_anchor"] == 2
    assert node.exec_properties["bucket_size"] == 4096
    assert node.exec_properties["seed"] is seed
    assert node.exec_properties["strategy"] == node.exec_properties["positives"] == "random"
    assert node.exec_properties["max_per_class"] == 0
    assert json.loads(node.exec_properties["splits"]) == ["train"]
    assert json.loads(TripletGen(channel).exec_properties["splits"]) == ["train", "eval"]
    assert node.outputs["triplets"].type is standard_artifacts.Examples


def test_component_takes_a_model():
    examples = types.Channel(type=standard_artifacts.Examples)
    model = types.Channel(type=standard_artifacts.Model)
    node = TripletGen(examples, model=model, strategy="hard", positives="hard")
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
