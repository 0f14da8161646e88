"""IndexGen through its real executor, on real digits."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.types import artifact_utils, standard_artifacts

from components.index_gen.earlier import hash_image
from modules.contract import make_example
from modules.index import (
    IndexMismatchError,
    check_same_model,
    model_fingerprint,
    open_index,
    read_description,
)
from tests.components.index_gen.index_node import (
    DIMENSION,
    blessing,
    contents,
    counts,
    gallery,
    make,
    model_artifact,
)
from tests.real_data import Row, digits, examples_artifact

THREADS = ["--direct_num_workers=4", "--direct_running_mode=multi_threading"]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return digits(8)


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> standard_artifacts.Model:
    return model_artifact(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def examples(tmp_path_factory, rows) -> standard_artifacts.Examples:
    splits = {"train": rows[:50], "eval": rows[50:]}
    return examples_artifact(tmp_path_factory.mktemp("examples"), splits)


@pytest.fixture(scope="module")
def index(tmp_path_factory, examples, model):
    return make(tmp_path_factory.mktemp("index"), examples, model)


def embed_alone(model: standard_artifacts.Model, image: bytes) -> np.ndarray:
    loaded = tf.saved_model.load(f"{model.uri}/Format-Serving")
    return loaded.signatures["images"](images=tf.constant([image]))["embedding"].numpy()[0]


def test_a_row_for_each_image_in_the_order_of_ids(index, rows, model) -> None:
    found = gallery(index)
    ordered = sorted(rows, key=lambda row: row[2])
    assert found.column_names == ["id", "label", "image_hash", "thumbnail", "vector"]
    assert found["id"].to_pylist() == [example_id for _, _, example_id in ordered]
    assert found["label"].to_pylist() == [label for _, label, _ in ordered]
    assert found["image_hash"].to_pylist() == [hash_image(image) for image, _, _ in ordered]
    vectors = np.stack(found["vector"].to_numpy(zero_copy_only=False))
    assert vectors.shape == (80, DIMENSION)
    for number in (0, 41, 79):
        alone = embed_alone(model, ordered[number][0])
        np.testing.assert_allclose(vectors[number], alone, atol=1e-6)
    picture = Image.open(io.BytesIO(found["thumbnail"][0].as_py()))
    assert (picture.format, picture.size) == ("JPEG", (28, 28))


def test_the_index_is_of_these_vectors_and_finds_what_brute_force_finds(index) -> None:
    opened = open_index(index.uri)
    vectors = np.stack(gallery(index)["vector"].to_numpy(zero_copy_only=False)).astype(float)
    apart = ((vectors[:, None] - vectors[None]) ** 2).sum(axis=2)
    distances, numbers = opened.search(vectors.astype(np.float32), 3)
    np.testing.assert_array_equal(numbers, np.argsort(apart, axis=1, kind="stable")[:, :3])
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :3], atol=1e-6)


def test_what_it_says_of_itself(index, model) -> None:
    fingerprint = model_fingerprint(f"{model.uri}/Format-Serving")
    description = read_description(index.uri)
    assert description.model == fingerprint
    assert (description.images, description.dimension) == (80, DIMENSION)
    assert (description.kind, description.storage, description.recall) == ("flat", "float32", 1.0)
    assert description.k == 10
    assert description.source == "eval, train"
    assert description.bytes == Path(index.uri, "vectors.faiss").stat().st_size
    assert gallery(index).schema.metadata[b"model"] == fingerprint.encode()
    assert counts(index) == (80, 80, 0, 0)
    assert index.get_int_custom_property("built") == 1
    assert index.get_string_custom_property("kind") == "flat"
    assert index.get_float_custom_property("recall") == 1.0
    # On the artifact only: files with it would never be the same.
    assert index.get_float_custom_property("latency_ms") > 0
    assert b"latency" not in Path(index.uri, "index.json").read_bytes()
    assert index.get_string_custom_property("model_fingerprint") == fingerprint
    assert not Path(index.uri, ".shards").exists()


def test_another_index_of_the_same_data_is_the_same(tmp_path, index, rows, model) -> None:
    """Whatever the files, their order, the splits and the runner."""
    examples = examples_artifact(tmp_path / "examples", {"train": rows[:9:-1], "eval": rows[9::-1]},
                                 shards=5)  # fmt: skip
    again = make(tmp_path / "index", examples, model, beam_args=THREADS)
    assert contents(again) == contents(index)


def test_a_gallery_that_changed_is_embedded_where_it_did(tmp_path, monkeypatch, model) -> None:
    rows = digits(30)
    monkeypatch.setattr("modules.index.layout.ROW_GROUP", 16)  # many of them
    monkeypatch.setattr("components.index_gen.shards.SHARD_ROWS", 20)
    before = examples_artifact(tmp_path / "before", {"train": rows[:250]})
    previous = make(tmp_path / "previous", before, model)
    assert counts(previous) == (250, 250, 0, 0)

    # 12 are gone, 3 have another image, 2 another label, 50 are new.
    changed = [(rows[299][0], label, i) for _, label, i in rows[20:23]]
    relabelled = [(image, b"other", i) for image, _, i in rows[40:42]]
    now = rows[12:20] + changed + rows[23:40] + relabelled + rows[42:]
    after = examples_artifact(tmp_path / "after", {"train": now})
    updated = make(tmp_path / "updated", after, model, previous=[previous], beam_args=THREADS)
    fresh = make(tmp_path / "fresh", after, model)
    assert counts(updated) == (288, 3 + 50, 288 - 53, 12 + 3)
    assert counts(fresh) == (288, 288, 0, 0)
    assert contents(updated) == contents(fresh)

    # What was kept was not computed again: a mark on its old vector is still there.
    marked = _with_first_vector(previous, tmp_path / "marked", rows[12][2])
    again = make(tmp_path / "again", after, model, previous=[marked])
    assert counts(again) == counts(updated)
    assert gallery(again)["vector"][0].as_py() == [1.0] + [0.0] * (DIMENSION - 1)
    assert gallery(again)["vector"][1:] == gallery(fresh)["vector"][1:]

    # A third time nothing is new, and the model is not even loaded.
    broken = standard_artifacts.Model()
    broken.uri = str(tmp_path / "broken")
    shutil.copytree(model.uri, broken.uri)
    monkeypatch.setattr("modules.models.shared_embedder.Embedder", None)
    third = make(tmp_path / "third", after, broken, previous=[updated])
    assert counts(third) == (288, 0, 288, 0)
    assert contents(third) == contents(fresh)


def _with_first_vector(index, root: Path, example_id: bytes):
    """A copy in which an image has the first unit vector."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    shutil.copytree(index.uri, root)
    table = pq.read_table(root / "gallery.parquet")
    vectors = table["vector"].to_pylist()
    vectors[table["id"].to_pylist().index(example_id)] = [1.0] + [0.0] * (DIMENSION - 1)
    column = pa.array(vectors, table.schema.field("vector").type)
    pq.write_table(table.set_column(4, "vector", column), root / "gallery.parquet")
    copy = type(index)()
    copy.uri = str(root)
    return copy


def test_vectors_of_another_model_are_not_taken_over(tmp_path, index, examples) -> None:
    other = model_artifact(tmp_path / "model", seed=1)
    made = make(tmp_path / "index", examples, other, previous=[index])
    assert counts(made) == (80, 80, 0, 0)
    assert contents(made) == contents(make(tmp_path / "fresh", examples, other))
    # Together they are no version.
    version = tmp_path / "serving" / "7"
    shutil.copytree(f"{other.uri}/Format-Serving", version)
    shutil.copytree(made.uri, version / "index")
    assert check_same_model(str(version)).images == 80
    mixed = tmp_path / "serving" / "8"
    shutil.copytree(version, mixed)
    shutil.rmtree(mixed / "index")
    shutil.copytree(index.uri, mixed / "index")
    with pytest.raises(IndexMismatchError, match="The index of this model is in version 7"):
        check_same_model(str(mixed))


def test_a_previous_index_that_is_of_no_use(tmp_path, index, examples, model) -> None:
    """Removed, or without the pictures that are asked for now."""
    gone = type(index)()
    gone.uri = str(tmp_path / "gone")
    assert counts(make(tmp_path / "1", examples, model, previous=[gone])) == (80, 80, 0, 0)
    plain = make(tmp_path / "2", examples, model, thumbnails=False, previous=[index])
    assert counts(plain) == (80, 0, 80, 0)
    assert "thumbnail" not in gallery(plain).column_names
    assert counts(make(tmp_path / "3", examples, model, previous=[plain])) == (80, 80, 0, 0)


def test_a_model_that_is_not_blessed_gets_no_index(tmp_path, examples, model) -> None:
    made = make(tmp_path / "index", examples, model, blessings=[blessing(blessed=False)])
    assert made.get_int_custom_property("built") == 0
    assert not (tmp_path / "index").exists()
    made = make(tmp_path / "index", examples, model, blessings=[blessing(blessed=True)])
    assert made.get_int_custom_property("built") == 1


def test_splits_and_spans(tmp_path, rows, model) -> None:
    first = examples_artifact(tmp_path / "1", {"train": rows[:20], "eval": rows[20:30]})
    second = examples_artifact(tmp_path / "2", {"train": rows[30:45], "other": rows[45:50]})
    for wanted, size in (("window", 50), ("train", 35), ("eval", 10)):
        made = make(tmp_path / str(size), [first, second], model, gallery=wanted)
        assert made.get_int_custom_property("images") == size
    message = r"gallery is 'eval', but the examples have the splits other, train\. Name"
    with pytest.raises(ValueError, match=message):
        make(tmp_path / "none", second, model, gallery="eval")


def flagged(root: Path, rows: list[Row], further) -> standard_artifacts.Examples:
    artifact = standard_artifacts.Examples()
    artifact.uri = str(root)
    artifact.split_names = artifact_utils.encode_split_names(["eval"])
    (root / "Split-eval").mkdir(parents=True)
    with tf.io.TFRecordWriter(str(root / "Split-eval" / "data.gz"), "GZIP") as writer:
        for row, features in zip(rows, further, strict=True):
            writer.write(make_example(*row, features).SerializeToString())
    return artifact


def test_further_columns_and_what_is_no_part_of_the_gallery(tmp_path, rows, model) -> None:
    further = [
        {"camera": b"left", "year": 1998, "price": 0.5, "is_gallery": 1, "is_query": 0},
        {"camera": b"right", "is_gallery": 0},
        {"year": 2001, "is_gallery": 1},
    ]
    made = make(tmp_path / "index", flagged(tmp_path / "e", rows[:3], further), model)
    found = gallery(made).drop(["vector", "thumbnail", "image_hash"]).to_pylist()
    ids = [rows[0][2], rows[2][2]]
    assert found == [
        {"id": ids[0], "label": b"0", "camera": b"left", "price": 0.5, "year": 1998},
        {"id": ids[1], "label": b"0", "camera": None, "price": None, "year": 2001},
    ]
    taken = flagged(tmp_path / "t", rows[:1], [{"vector": b"mine"}])
    with pytest.raises(ValueError, match="have the column vector, a name that the gallery"):
        make(tmp_path / "taken", taken, model)


def test_faults_of_the_data(tmp_path, rows, model) -> None:
    twice = examples_artifact(tmp_path / "twice", {"train": [rows[0], rows[1], rows[0]]})
    with pytest.raises(Exception, match=r"id b'digit/0000' occurs more than once"):
        make(tmp_path / "index", twice, model)
    assert not list((tmp_path / "index").iterdir())  # nothing that looks complete
    broken = examples_artifact(tmp_path / "broken", {"train": [(b"no image", b"1", b"broken/7")]})
    with pytest.raises(Exception, match=r"cannot embed the image 'broken/7': .*Repair or remove"):
        make(tmp_path / "index", broken, model)
    empty = examples_artifact(tmp_path / "empty", {"train": []})
    with pytest.raises(Exception, match="there are no gallery images"):
        make(tmp_path / "index", empty, model)


def test_vectors_that_are_not_of_length_1(tmp_path, rows, examples) -> None:
    from tests.components.triplet_gen.triplet_models import model_artifact as blocks

    long = blocks(tmp_path / "model", value=1.0)
    with pytest.raises(Exception, match=r"has the length 2, not 1 \(\d+ of \d+ here\)"):
        make(tmp_path / "index", examples, long)


def test_approximate_indexes_and_their_storage(tmp_path, index, examples, model) -> None:
    made = make(
        tmp_path / "index", examples, model, previous=[index],
        kind="ivf", storage="float16", min_recall=0.5, k=3, queries=40,
    )  # fmt: skip
    description = read_description(made.uri)
    assert (description.kind, description.storage, description.k) == ("ivf", "float16", 3)
    assert description.recall >= 0.5
    assert description.parameters["lists"] == 2  # 80 images: at least 39 in each
    assert made.get_string_custom_property("storage") == "float16"
    # In the gallery the vectors stay as the model made them, so the next index loses nothing.
    assert gallery(made)["vector"] == gallery(index)["vector"]
    exact = make(tmp_path / "exact", examples, model, previous=[made],
                 kind="flat", storage="int8", min_recall=1.0)  # fmt: skip
    assert exact.get_string_custom_property("instead").startswith("flat with int8 finds 0.")
    assert read_description(exact.uri).storage == "float32"
    assert contents(exact) == contents(index)


def test_an_object_store(tmp_path, index, examples, model) -> None:
    """`file://` goes the way of `gs://`."""
    here = type(index)()
    here.uri = f"file://{index.uri}"
    made = make(f"file://{tmp_path}/index", examples, model, previous=[here])
    assert counts(made) == (80, 0, 80, 0)
    here.uri = str(tmp_path / "index")
    assert contents(here) == contents(index)
    assert json.loads((tmp_path / "index" / "index.json").read_text())["images"] == 80
