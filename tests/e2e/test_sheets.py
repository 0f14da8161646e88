"""A sheet of images with cameras, queries and a gallery goes through the whole chain.

What is searched later is a catalogue of its own, without labels.
"""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from click.testing import CliRunner
from qdrant_client import QdrantClient

from modules.index import index_folder, open_index
from pipeline.__main__ import main
from pipeline.config import CONFIG_VARIABLE, load_config
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, latest_run, read_latest
from pipeline.operations.reference_scores import latest_reference_scores
from tests.real_data import digits

pytestmark = pytest.mark.slow

ROWS = digits(16)
BACKGROUND = digits(1, start=80)


def write_sheet(root: Path) -> pd.DataFrame:
    """A quarter is `eval`; of that every other image is a query, and all are the gallery.

    Ten images more show nothing that anybody looks for.
    """
    root.mkdir()
    rows = []
    for i, (image, label, _) in enumerate([*ROWS, *BACKGROUND]):
        (root / f"{i:03d}.png").write_bytes(image)
        is_eval = i % 4 == 0 or i >= len(ROWS)
        rows.append(
            {
                "path": f"{i:03d}.png",
                "label": f"digit {label.decode()}" if i < len(ROWS) else "background",
                "split": "eval" if is_eval else "train",
                "camera": f"camera {i % 16 // 8}",
                "is_query": str(i % 8 == 0).lower() if is_eval else "",
                "is_gallery": "true" if is_eval else "",
                "box_x": 2,
                "box_y": 2,
                "box_w": 24,
                "box_h": 24,
            }
        )
    table = pd.DataFrame(rows)
    table.to_csv(root / "sheet.csv", index=False)
    return table


def write_catalogue(root: Path, numbers: range) -> None:
    (root / "new").mkdir(parents=True, exist_ok=True)
    for i, (image, _, _) in enumerate(digits(1, start=90)):
        path = root / ("new" if i % 2 else "") / f"{i}.png"
        path.write_bytes(image) if i in numbers else path.unlink(missing_ok=True)


def check_search(root: Path, version: str, searchable: dict[bytes, bytes | None]) -> None:
    """What the command says, a program that calls the model, and a database."""
    query = root / "catalogue" / "4.png"
    texts = {name.decode(): label and label.decode() for name, label in searchable.items()}
    asked = ["search", str(query), "--config", str(root / "config.toml"), "--k", "8"]
    done = CliRunner().invoke(main, [*asked, "--json"])
    assert done.exit_code == 0, done.output
    neighbours = json.loads(done.stdout)["results"][0]["neighbours"]
    assert {one["id"]: one["label"] for one in neighbours} == texts
    assert neighbours[0]["id"] == "4.png"
    assert neighbours[0]["distance"] < 1e-6

    model = tf.saved_model.load(version)  # owns the variables of the signature
    called = model.signatures["nearest"](images=tf.constant([query.read_bytes()]), k=tf.constant(8))
    ids, labels = (called[name][0].numpy().tolist() for name in ("ids", "labels"))
    assert ids == [one["id"].encode() for one in neighbours]
    assert labels == [searchable[name] or b"" for name in ids]

    folder = str(root / "qdrant")
    pushed = ["index", "push", "--model", version, "--to", "qdrant", "--url", folder]
    done = CliRunner().invoke(main, [*pushed, "--name", "things"])
    assert done.exit_code == 0, done.output
    with contextlib.closing(QdrantClient(path=folder)) as client:
        points, _ = client.scroll("things")
    assert {point.payload["id"]: point.payload["label"] for point in points} == texts


def executed(run: Run) -> set[str]:
    return {n.node for n in run.nodes if n.state == "run" and not n.node.endswith("Resolver")}


def test_a_sheet_through_the_whole_chain(tmp_path, monkeypatch) -> None:
    table = write_sheet(tmp_path / "data")
    write_catalogue(tmp_path / "catalogue", range(8))
    config = tmp_path / "config.toml"
    config.write_text(f"""
[pipeline]
name = "sheet"
directory = "{tmp_path}"
[data]
path = "{tmp_path}/data"
format = "csv"
distractors = ["background"]
[training]
steps = 20
batch_size = 32
validate_every = 10
[export]
tflite = false
[evaluation]
slice_by = ["label", "camera"]
exclude_same = ["camera"]
[evaluation.thresholds."precision@1"]
lower = 0.0
[index]
gallery = "images"
path = "{tmp_path}/catalogue"
""")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    run_pipeline(load_config())
    first = latest_run(load_config())
    assert first.pushed_to is not None
    assert first.evaluation is not None
    found = first.evaluation.metrics["candidate"]
    of_eval = table[(table["split"] == "eval") & (table["label"] != "background")]
    queries = of_eval[of_eval["is_query"] == "true"]
    assert found["overall"]["queries"] == len(queries)
    assert found["overall"]["excluded_queries"] == 0
    assert found["overall"]["gallery_size"] == len(of_eval) + len(BACKGROUND)
    assert found["camera=camera 0"]["queries"] == sum(queries["camera"] == "camera 0")
    # Of each class 4 are in the gallery, 2 of each camera: those of the query's own are not found.
    assert found["overall"]["precision@5"] <= 2 / 5
    assert latest_reference_scores(load_config())["raw_pixels"]["precision@5"] <= 2 / 5
    nodes = {node.node: node for node in first.nodes}
    output = nodes["SheetExampleGen"].outputs["examples"]
    assert (output["images"], output["distractors"]) == (len(ROWS), len(BACKGROUND))
    # No other node has heard of them.
    assert nodes["StatisticsGen"].outputs["statistics"]["split_names"] == '["train", "eval"]'
    assert b"background" not in b"".join(
        record
        for file in Path(nodes["TripletGen"].uris["triplets"][0]).glob("Split-*/*")
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    )
    for file in Path(output["uri"]).glob("Split-eval/*"):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").take(1).as_numpy_iterator():
            image = tf.train.Example.FromString(record).features.feature["image"]
            assert tf.io.decode_png(image.bytes_list.value[0]).shape == (24, 24, 1)

    index = open_index(index_folder(first.pushed_to))
    searchable = {row["id"]: row["label"] for row in index.rows(np.arange(len(index)))}
    assert searchable == {
        (b"new/%d.png" if i % 2 else b"%d.png") % i: b"new" if i % 2 else None for i in range(8)
    }
    assert nodes["GalleryExampleGen"].outputs["examples"]["images"] == 8
    check_search(tmp_path, first.pushed_to, searchable)

    run_pipeline(load_config())
    assert executed(latest_run(load_config())) == set()

    # Nothing is trained for another catalogue.
    write_catalogue(tmp_path / "catalogue", range(1, 10))
    run_pipeline(load_config())
    again, runs = read_latest(load_config())
    assert executed(again) == {"GalleryExampleGen", "IndexGen", "Pusher"}
    counts = [runs[-1].index[name] for name in ("images", "added", "kept", "removed")]
    assert (runs[-1].state, counts) == ("pushed", [9, 2, 7, 1])

    # Another sheet: one image of each class in eval, and they search in the train split.
    first_of_class = ~table["label"].duplicated() & (table["label"] != "background")
    table["split"] = first_of_class.map({True: "eval", False: "train"})
    table["is_query"] = table["is_gallery"] = "true"
    table.to_csv(tmp_path / "data" / "sheet.csv", index=False)
    config.write_text(
        config.read_text().replace("[evaluation]\n", '[evaluation]\ngallery_split = "train"\n')
    )
    run_pipeline(load_config())
    second = latest_run(load_config())
    assert "SheetExampleGen" in executed(second)
    assert second.evaluation is not None
    overall = second.evaluation.metrics["candidate"]["overall"]
    assert (overall["queries"], overall["excluded_queries"]) == (10, 0)
    assert overall["gallery_size"] == len(ROWS) - 10 + len(BACKGROUND)
    assert 0 < overall["map@r"] <= 1
