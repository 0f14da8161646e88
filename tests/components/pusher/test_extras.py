"""What a push puts beside the model."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from components.index_gen import Index
from components.pusher.versioned_push import push as hand_over_push, versions
from components.report_gen import EvaluationReport
from modules.index import (
    SIGNATURE_ASSETS,
    IndexMismatchError,
    check_same_model,
    index_folder,
    write_empty_assets,
)
from tests.components.pusher.push_server import push
from tests.components.pusher.pushed_models import contents, make_extras, make_model
from tests.modules.index.index_folders import unit_vectors, write_flat_index
from tests.pipeline.served.served_versions import write_operating_point


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_extras_appear_beside_the_model_and_are_part_of_the_version(tmp_path, scheme) -> None:
    model = make_model(tmp_path / "model", "a") / "Format-Serving"
    serving = f"{scheme}{tmp_path}/serving"
    first = hand_over_push(str(model), serving, extras=make_extras(tmp_path, "1"))
    expected = {**contents(model), "index/rows": b"rows", "point.json": b"1"}
    assert contents(tmp_path / "serving" / str(first)) == expected
    # Tried again it makes no version; with another extra, or with none, it is another version.
    assert hand_over_push(str(model), serving, extras=make_extras(tmp_path, "1")) == first
    second = hand_over_push(str(model), serving, extras=make_extras(tmp_path, "2"))
    assert second > first
    third = hand_over_push(str(model), serving)
    assert third > second
    assert contents(tmp_path / "serving" / str(third)) == contents(model)
    assert versions(serving) == [first, second, third]


def test_an_extra_replaces_nothing_of_the_model(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a") / "Format-Serving"
    extras = {"saved_model.pb": make_extras(tmp_path, "1")["point.json"]}
    with pytest.raises(ValueError, match=r"point.json would replace saved_model.pb of "):
        hand_over_push(str(model), str(tmp_path / "serving"), extras=extras)
    assert not (tmp_path / "serving").exists()


def test_what_lies_beside_the_verdict_goes_with_the_model(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a")
    blessing = tmp_path / "blessing"
    blessing.mkdir()
    (blessing / "operating_point.json").write_text("1")
    (blessing / "compatibility").mkdir()
    (blessing / "compatibility" / "map.npy").write_text("2")
    paths = (str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    pushed = push("ours", *paths, blessing_folder=str(blessing))
    expected = {**contents(model / "Format-Serving"), "operating_point.json": b"1"}
    expected["compatibility/map.npy"] = b"2"
    assert contents(pushed.get_string_custom_property("pushed_destination")) == expected
    assert contents(tmp_path / "archive") == expected
    extras = json.loads(pushed.get_string_custom_property("pushed_extras"))
    beside = ("operating_point.json", "compatibility")
    assert extras == {name: str(blessing / name) for name in beside}


def test_the_model_card_goes_with_the_model_and_makes_no_version(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a")
    report = EvaluationReport()
    report.uri = str(tmp_path / "report")
    Path(report.uri).mkdir()
    paths = (str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    # A report that failed has none.
    bare = push("ours", *paths, report=report).get_string_custom_property("pushed_destination")
    assert contents(bare) == contents(model / "Format-Serving")
    card = Path(report.uri, "model_card.md")
    card.write_text("one")
    again = push("ours", *paths, report=report)
    assert again.get_string_custom_property("pushed_destination") == bare
    other = make_model(tmp_path / "other", "b")
    pushed = push("ours", str(other), *paths[1:], report=report)
    version = pushed.get_string_custom_property("pushed_destination")
    assert contents(version) == {**contents(other / "Format-Serving"), "model_card.md": b"one"}
    extras = json.loads(pushed.get_string_custom_property("pushed_extras"))
    assert extras == {"model_card.md": str(card)}
    card.write_text("two")
    push("ours", str(other), *paths[1:], report=report)
    assert len(versions(paths[1])) == 2


def index_of(root: Path, model: Path) -> Index:
    """What IndexGen makes for a model."""
    artifact = Index()
    artifact.uri = str(root)
    artifact.set_int_custom_property("built", 1)
    write_flat_index(model, unit_vectors(3, 4))  # beside the model, as in a version
    shutil.move(index_folder(str(model)), root)
    return artifact


def test_model_and_index_are_one_version(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a")
    index = index_of(tmp_path / "index", model / "Format-Serving")
    paths = (str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    pushed = push("ours", *paths, index=index)
    version = pushed.get_string_custom_property("pushed_destination")
    of_index = {f"index/{name}": file for name, file in contents(tmp_path / "index").items()}
    assert sorted(of_index) == ["index/gallery.parquet", "index/index.json", "index/vectors.faiss"]
    assert contents(version) == {**contents(model / "Format-Serving"), **of_index}
    assert check_same_model(version).images == 3
    # The index is not copied a third time; a rollback finds it where it was made.
    assert contents(tmp_path / "archive") == contents(model / "Format-Serving")
    assert json.loads(pushed.get_string_custom_property("pushed_extras")) == {"index": index.uri}
    # Tried again it makes no new version.
    assert push("ours", *paths, index=index).get_string_custom_property(
        "pushed_destination") == version  # fmt: skip


def test_an_index_of_another_model_is_never_pushed(tmp_path) -> None:
    other = make_model(tmp_path / "other", "b")
    index = index_of(tmp_path / "index", other / "Format-Serving")
    model = make_model(tmp_path / "model", "a")
    paths = (str(model), str(tmp_path / "serving"), str(tmp_path / "archive"))
    with pytest.raises(IndexMismatchError, match="Give IndexGen and Pusher the same model"):
        push("ours", *paths, index=index)
    assert not (tmp_path / "serving").exists()
    # One that was not made has nothing to push.
    index.set_int_custom_property("built", 0)
    version = push("ours", *paths, index=index).get_string_custom_property("pushed_destination")
    assert contents(version) == contents(model / "Format-Serving")


def test_a_push_gives_the_signatures_their_gallery_and_threshold(tmp_path) -> None:
    model = make_model(tmp_path / "model", "a") / "Format-Serving"
    write_empty_assets(str(model / "assets"))
    empty = {path: (model / path).read_bytes() for path in SIGNATURE_ASSETS}
    index = index_of(tmp_path / "index", model)
    blessing = tmp_path / "blessing"
    blessing.mkdir()
    write_operating_point(blessing, threshold=0.75)
    paths = (str(model.parent), str(tmp_path / "serving"), str(tmp_path / "archive"))
    pushed = push("ours", *paths, blessing_folder=str(blessing), index=index, nearest_up_to=3)
    version = pushed.get_string_custom_property("pushed_destination")
    types = (tf.string, tf.string, tf.float32, tf.float32)
    ids, labels, vectors, threshold = (
        tf.io.parse_tensor(Path(version, path).read_bytes(), dtype).numpy()
        for path, dtype in zip(SIGNATURE_ASSETS, types, strict=True)
    )
    assert ids.tolist() == [b"id-00000", b"id-00001", b"id-00002"]
    assert labels.tolist() == [b"c0", b"c1", b"c2"]
    np.testing.assert_array_equal(vectors, unit_vectors(3, 4))
    assert threshold.tolist() == [0.75]
    # Model and index are still those that belong together, and the model is as it was.
    assert check_same_model(version).images == 3
    assert {path: (model / path).read_bytes() for path in SIGNATURE_ASSETS} == empty
    # A rollback pushes the same version again from what the metadata say.
    extras = json.loads(pushed.get_string_custom_property("pushed_extras"))
    again = hand_over_push(str(model), str(tmp_path / "elsewhere"), extras=extras)
    assert contents(tmp_path / "elsewhere" / str(again)) == contents(version)
    # A gallery of more images than asked for stays out.
    paths = (str(model.parent), str(tmp_path / "other"), str(tmp_path / "other-archive"))
    pushed = push("ours", *paths, index=index, nearest_up_to=2)
    version = pushed.get_string_custom_property("pushed_destination")
    assert {path: Path(version, path).read_bytes() for path in SIGNATURE_ASSETS} == empty
