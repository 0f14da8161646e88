"""A gallery of its own, read by the real executors and drivers, and the index that it gets."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from tfx.dsl.components.base import base_beam_executor
from tfx.orchestration import data_types
from tfx.types import standard_artifacts

from components.gallery_example_gen import ImageGalleryGen, SheetGalleryGen
from components.spans import list_files
from modules.contract import ID, IMAGE, LABEL
from tests.components.index_gen.index_node import counts, gallery, make, model_artifact
from tests.real_data import BEAM_ARGS, digits

IMAGES = [image for image, _, _ in digits(1)]


def resolve(node) -> dict:
    driver = node.driver_class(None)
    info = data_types.PipelineInfo("p", "r")
    return driver.resolve_exec_properties(dict(node.exec_properties), info, None)


def run(node, uri: Path) -> standard_artifacts.Examples:
    """Runs driver and executor as TFX does."""
    examples = standard_artifacts.Examples()
    examples.uri = str(uri)
    context = base_beam_executor.BaseBeamExecutor.Context(
        beam_pipeline_args=BEAM_ARGS, tmp_dir=str(uri.with_suffix(".tmp")), unique_id="1"
    )
    node.executor_spec.executor_class(context).Do({}, {"examples": [examples]}, resolve(node))
    return examples


def read(examples) -> dict[str, dict[str, object]]:
    """Features by id."""
    found = {}
    assert examples.split_names == '["gallery"]'
    files = [str(file) for file in Path(examples.uri).glob("Split-gallery/*")]
    for record in tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator():
        features = tf.train.Example.FromString(record).features.feature
        row = {}
        for name, value in features.items():
            (row[name],) = getattr(value, value.WhichOneof("kind")).value
        found[row[ID].decode()] = row
    return found


def put(root: Path, name: str, number: int) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(IMAGES[number])


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for number, name in enumerate(["1.png", "shelf/2.png", "shelf/top/3.PNG", "4.png"]):
        put(root, name, number)
    return root


def test_images_at_any_depth_have_the_name_of_their_folder(tmp_path, catalogue) -> None:
    (catalogue / "notes.txt").write_text("no image")
    (catalogue / "cut.png").write_bytes(IMAGES[0][:60])
    put(catalogue, ".git/5.png", 5)
    examples = run(ImageGalleryGen(str(catalogue), 0.2), tmp_path / "out")
    assert read(examples) == {
        name: {IMAGE: IMAGES[number], LABEL: label, ID: name.encode()}
        for number, (name, label) in enumerate(
            [("1.png", b""), ("shelf/2.png", b"shelf"), ("shelf/top/3.PNG", b"top"),
             ("4.png", b"")]
        )
    }  # fmt: skip
    names = ("images", "undecodable", "ignored_files")
    assert [examples.get_int_custom_property(name) for name in names] == [4, 1, 1]
    assert (tmp_path / "out" / "undecodable.txt").read_text().startswith("cut.png\t")
    with pytest.raises(ValueError, match=r"1 of 5 images \(20.00%\)"):
        run(ImageGalleryGen(str(catalogue)), tmp_path / "again")
    with pytest.raises(ValueError, match=r"5 of 5 images"):
        run(ImageGalleryGen(str(catalogue), 0.2, max_pixels=100), tmp_path / "large")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"Expected files ending in .*at any depth"):
        run(ImageGalleryGen(str(tmp_path / "empty")), tmp_path / "none")


def test_every_change_of_the_folder_is_new_data(catalogue) -> None:
    seen = set()

    def changed() -> bool:
        found = resolve(ImageGalleryGen(str(catalogue)))["input_fingerprint"]
        is_new = found not in seen
        seen.add(found)
        return is_new

    assert changed()
    assert not changed()
    (catalogue / "shelf" / "2.png").rename(catalogue / "shelf" / "top" / "2.png")
    assert changed()  # its label is another
    put(catalogue, "a/b/c/d/5.png", 5)
    assert changed()
    put(catalogue, "1.png", 6)  # another size
    assert changed()
    (catalogue / "4.png").unlink()
    assert changed()
    put(catalogue, ".cache/6.png", 6)
    assert not changed()


def test_links_to_folders_are_followed_and_end(tmp_path, catalogue) -> None:
    put(tmp_path / "elsewhere", "x.png", 7)
    (catalogue / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(catalogue)
    (catalogue / "shelf" / "round").symlink_to(catalogue / "shelf")
    found = [path.removeprefix(f"{catalogue}/") for path in list_files(str(catalogue), "**")]
    assert found == ["1.png", "4.png", "link/x.png", "shelf/2.png", "shelf/top/3.PNG"]
    assert list_files(f"file://{catalogue}", "**")[0] == f"file://{catalogue}/1.png"


def test_a_folder_that_cannot_be_listed_is_no_empty_one(tmp_path) -> None:
    with pytest.raises(ValueError, match=r"gone/ cannot be listed .*would be missing"):
        list_files(str(tmp_path / "gone"), "**")


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_sheet_needs_no_labels(tmp_path, catalogue, kind) -> None:
    rows = [{"path": "1.png", "id": "sku-1", "price": "3"}, {"path": "shelf/2.png", "id": "sku-2"}]

    def write(rows: list[dict]) -> SheetGalleryGen:
        table = pd.DataFrame(rows).fillna("")
        path = catalogue / f"sheet.{kind}"
        table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
        return SheetGalleryGen(str(catalogue), kind)

    found = read(run(write(rows), tmp_path / "out"))
    assert {name: (row[IMAGE], row[LABEL], row["price"]) for name, row in found.items()} == {
        "sku-1": (IMAGES[0], b"", b"3"), "sku-2": (IMAGES[1], b"", b""),
    }  # fmt: skip
    before = resolve(write(rows))["input_fingerprint"]
    put(catalogue, "1.png", 8)  # also without labels the images belong to the fingerprint
    assert resolve(write(rows))["input_fingerprint"] != before
    rows[0]["label"] = "lamp"
    labels = {name: row[LABEL] for name, row in read(run(write(rows), tmp_path / "2")).items()}
    assert labels == {"sku-1": b"lamp", "sku-2": b""}
    rows[1]["id"] = "sku-1"
    with pytest.raises(ValueError, match=r"column id: 'sku-1' is the id of .* too"):
        run(write(rows), tmp_path / "3")
    (catalogue / f"sheet.{kind}").unlink()
    with pytest.raises(ValueError, match=r"No sheet in .*Correct \[index\] path or the pattern"):
        run(SheetGalleryGen(str(catalogue), kind), tmp_path / "4")


def test_an_index_of_it_embeds_only_what_is_new(tmp_path, catalogue) -> None:
    model = model_artifact(tmp_path / "model")

    def index(name: str, *previous):
        examples = run(ImageGalleryGen(str(catalogue)), tmp_path / f"examples {name}")
        return make(tmp_path / name, examples, model, previous=previous, gallery="images")

    first = index("first")
    assert counts(first) == (4, 4, 0, 0)
    rows = gallery(first).select(["id", "label"]).to_pylist()
    assert [(row["id"], row["label"]) for row in rows] == [
        (b"1.png", None), (b"4.png", None), (b"shelf/2.png", b"shelf"), (b"shelf/top/3.PNG", b"top")
    ]  # fmt: skip
    put(catalogue, "new/5.png", 5)
    put(catalogue, "4.png", 6)
    (catalogue / "1.png").unlink()
    second = index("second", first)
    assert counts(second) == (4, 2, 2, 2)
    assert gallery(second) == gallery(index("anew"))
