"""A sheet of images with cameras, queries and a gallery goes through the whole chain."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf

from pipeline.config import CONFIG_VARIABLE, load_config
from pipeline.local_runner import run_pipeline
from pipeline.metadata import Run, latest_run
from pipeline.operations.reference_scores import latest_reference_scores
from tests.real_data import digits

pytestmark = pytest.mark.slow

ROWS = digits(16)


def write_sheet(root: Path) -> pd.DataFrame:
    """A quarter is `eval`; of that every other image is a query, and all are the gallery."""
    root.mkdir()
    rows = []
    for i, (image, label, _) in enumerate(ROWS):
        (root / f"{i:03d}.png").write_bytes(image)
        is_eval = i % 4 == 0
        rows.append(
            {
                "path": f"{i:03d}.png",
                "label": f"digit {label.decode()}",
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


def executed(run: Run) -> set[str]:
    return {n.node for n in run.nodes if n.state == "run" and not n.node.endswith("Resolver")}


def test_a_sheet_through_the_whole_chain(tmp_path, monkeypatch) -> None:
    table = write_sheet(tmp_path / "data")
    config = tmp_path / "config.toml"
    config.write_text(f"""
[pipeline]
name = "sheet"
directory = "{tmp_path}"
[data]
path = "{tmp_path}/data"
format = "csv"
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
""")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    run_pipeline(load_config())
    first = latest_run(load_config())
    assert first.pushed_to is not None
    assert first.evaluation is not None
    found = first.evaluation.metrics["candidate"]
    of_eval = table[table["split"] == "eval"]
    queries = of_eval[of_eval["is_query"] == "true"]
    assert found["overall"]["queries"] == len(queries)
    assert found["overall"]["excluded_queries"] == 0
    assert found["camera=camera 0"]["queries"] == sum(queries["camera"] == "camera 0")
    # Of each class 4 are in the gallery, 2 of each camera: those of the query's own are not found.
    assert found["overall"]["precision@5"] <= 2 / 5
    assert latest_reference_scores(load_config())["raw_pixels"]["precision@5"] <= 2 / 5
    nodes = {node.node: node for node in first.nodes}
    output = nodes["SheetExampleGen"].outputs["examples"]
    assert output["images"] == len(ROWS)
    for file in Path(output["uri"]).glob("Split-eval/*"):
        for record in tf.data.TFRecordDataset(str(file), "GZIP").take(1).as_numpy_iterator():
            image = tf.train.Example.FromString(record).features.feature["image"]
            assert tf.io.decode_png(image.bytes_list.value[0]).shape == (24, 24, 1)

    run_pipeline(load_config())
    assert executed(latest_run(load_config())) == set()

    table.loc[1, "label"], table.loc[17, "label"] = table.loc[17, "label"], table.loc[1, "label"]
    table.to_csv(tmp_path / "data" / "sheet.csv", index=False)
    run_pipeline(load_config())
    assert "SheetExampleGen" in executed(latest_run(load_config()))
