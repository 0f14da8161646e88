"""Each recipe runs the whole way on small real or drawn data, as a user's folder would hold it."""

from __future__ import annotations

import io
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageEnhance

from modules.gate import EvaluationReport, read_report
from pipeline.config import parse_config
from pipeline.config.loading import CONFIGS
from pipeline.local_runner import run_pipeline
from pipeline.metadata import latest_run
from tests.benchmarks.drawn_classes import drawn_classes
from tests.benchmarks.drawn_objects import drawn_faces, drawn_products
from tests.modules.models.preset_folders import save_preset
from tests.pipeline.local_runs import output
from tests.real_data import Row, digits


def versions_of_digits() -> list[Row]:
    """Real digits, each a class of its own: as it is, turned, darker, and as a JPEG."""
    rows = []
    for number, (image, _, _) in enumerate(digits(6)):
        digit = Image.open(io.BytesIO(image))
        turned = digit.rotate(6, Image.Resampling.BILINEAR)
        versions = [digit, turned, ImageEnhance.Brightness(digit).enhance(0.7), digit]
        for place, version in enumerate(versions):
            file = io.BytesIO()
            version.save(file, "JPEG" if place == 3 else "PNG")
            name = f"{number:03d}/{place}"
            rows.append((file.getvalue(), name[:3].encode(), name.encode()))
    return rows


DATA: dict[str, Callable[[], list[Row]]] = {
    "characters": lambda: drawn_classes(20, 8, 0, size=35),
    "faces": lambda: drawn_faces(15, 6, 0),
    "near-duplicates": versions_of_digits,
    "products": lambda: drawn_products(15, 6, 0),
    "products-frozen": lambda: drawn_products(15, 6, 0),
}


def recipe(name: str, data: Path, root: Path) -> dict[str, Any]:
    """The ready configuration with other folders and 12 steps; all else is as people get it."""
    tables = tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    tables["pipeline"]["directory"] = str(root)
    tables["data"]["path"] = str(data)
    assert tables["training"].pop("minutes", 0) <= 5
    tables["training"] |= {"steps": 12, "validate_every": 6}
    if tables["model"]["name"] == "keras_hub":  # a small one in the place of the download
        tables["model"]["preset"] = save_preset("dinov2", root / "preset")
        tables["image"] |= {"height": 28, "width": 28}
    return tables


def put_into_folders(rows: list[Row], folder: Path) -> None:
    for image, label, example_id in rows:
        of_class = folder / label.decode()
        of_class.mkdir(parents=True, exist_ok=True)
        (of_class / example_id.decode().split("/")[-1]).with_suffix(".png").write_bytes(image)


def run_and_check(tables: dict[str, Any], name: str) -> EvaluationReport:
    """Runs a configuration; the gate alone decides whether its model is pushed."""
    config = parse_config(tables, name)
    serving = Path(config.pipeline.serving_directory)
    before = len([*serving.glob("[0-9]*")])
    run_pipeline(config)
    run = latest_run(config)
    assert {node.state for node in run.nodes} <= {"run", "cached"}
    report = read_report(output(run, "Evaluator", "evaluation")["uri"])
    found = report.metrics["candidate"]["overall"]
    assert found["queries"] > 0
    assert set(config.evaluation.thresholds) <= set(found)
    assert len([*serving.glob("[0-9]*")]) == before + (not report.failures)
    return report


@pytest.mark.slow
@pytest.mark.parametrize("name", DATA)
def test_a_recipe_runs_and_its_gate_decides(name: str, tmp_path: Path) -> None:
    put_into_folders(DATA[name](), tmp_path / "data")
    tables = recipe(name, tmp_path / "data", tmp_path)
    if name != "products-frozen":
        run_and_check(tables, name)
        return
    for threshold in tables["evaluation"]["thresholds"].values():
        threshold["lower"] = 0.0  # the first model must be blessed to go on from
    assert not run_and_check(tables, name).failures
    tables["model"]["trainable"] = "fine_tune"
    tables["pipeline"]["warm_start"] = True
    assert "baseline" in run_and_check(tables, name).metrics


def test_every_recipe_is_run() -> None:
    ready = {path.stem for path in CONFIGS.glob("*.toml")}
    assert {name for name in ready if not name.startswith("mnist")} == set(DATA)
