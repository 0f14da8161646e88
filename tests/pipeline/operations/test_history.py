"""Summaries, table, picture and page of runs in a real metadata database; real runs: tests/e2e."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import ml_metadata as mlmd
import pytest
from click.testing import CliRunner, Result
from ml_metadata.proto import metadata_store_pb2 as proto
from PIL import Image
from rich.console import Console

from modules.gate import EvaluationReport, Failure
from pipeline.__main__ import main
from pipeline.config import PROJECT, Config, load_config
from pipeline.metadata import RunSummary, find_execution, mark_failed, read_runs
from pipeline.metadata.connection import local_connection
from pipeline.operations.history_plot import history_png
from pipeline.operations.history_table import history_rows, print_runs
from pipeline.runtime import NotRunError
from pipeline.runtime.lock import hold_lock

DONE, CACHED = proto.Execution.COMPLETE, proto.Execution.CACHED
FAILED, RUNNING = proto.Execution.FAILED, proto.Execution.RUNNING
SCORES = {"candidate precision@1": 0.9, "candidate map@r": 0.8, "candidate queries": 40.0}


class Database:
    """Writes what TFX writes of its runs, as far as it is read."""

    def __init__(self, config: Config) -> None:
        Path(config.pipeline.metadata).parent.mkdir(parents=True)
        self.store = mlmd.MetadataStore(local_connection(config, readonly=False))
        self.name = config.pipeline.name
        self._contexts: dict[tuple[str, str], int] = {}

    def context(self, kind: str, name: str) -> int:
        if (kind, name) not in self._contexts:
            type_id = self.store.put_context_type(proto.ContextType(name=kind))
            (made,) = self.store.put_contexts([proto.Context(type_id=type_id, name=name)])
            self._contexts[kind, name] = made
        return self._contexts[kind, name]

    def artifact(self, kind: str, /, **properties: int | float | str) -> int:
        type_id = self.store.put_artifact_type(proto.ArtifactType(name=kind))
        artifact = proto.Artifact(type_id=type_id, uri=f"/gone/{kind}")
        put(artifact, properties)
        return self.store.put_artifacts([artifact])[0]

    def node(
        self,
        run: str,
        node: str,
        state: int,
        outputs: dict[str, int] | None = None,
        inputs: dict[str, list[int]] | None = None,
        **properties: int | str,
    ) -> None:
        type_id = self.store.put_execution_type(proto.ExecutionType(name=f"type of {node}"))
        execution = proto.Execution(type_id=type_id, last_known_state=state)
        put(execution, properties)
        events = [(proto.Event.OUTPUT, key, made) for key, made in (outputs or {}).items()]
        for key, read in (inputs or {}).items():
            events += [(proto.Event.INPUT, key, one) for one in read]
        contexts = [
            self.context("pipeline", self.name),
            self.context("pipeline_run", run),
            self.context("node", f"{self.name}.{node}"),
        ]
        (made,) = self.store.put_executions([execution])
        self.store.put_attributions_and_associations(
            [], [proto.Association(execution_id=made, context_id=c) for c in contexts]
        )
        for kind, key, artifact in events:
            event = proto.Event(type=kind, execution_id=made, artifact_id=artifact)
            event.path.steps.add().key = key
            self.store.put_events([event])


def put(item: proto.Artifact | proto.Execution, properties: dict[str, int | float | str]) -> None:
    for name, value in properties.items():
        field = {int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(item.custom_properties[name], field, value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(f"""
[pipeline]
name = "mine"
directory = "{tmp_path}"
[data]
path = "{tmp_path}/data"
split = "hash"
pattern = "span-{{SPAN}}/*"
""")
    return path


@pytest.fixture
def config(path: Path) -> Config:
    return load_config(str(path))


def whole_run(
    db: Database, run: str, span: int, *, blessed: bool, pushed: str | None = None, **scores: float
) -> dict[str, dict[str, int]]:
    """A run in which every node worked; returns its artifacts, for cached runs."""
    earlier = [db.artifact("Examples", span=span - 1)] if span else []
    made = {
        "ImageExampleGen": {"examples": db.artifact("Examples", span=span, images=100 + span)},
        "ExampleValidator": {"anomalies": db.artifact("ExampleAnomalies")},
        "TripletGen": {"triplets": db.artifact("Examples", triplets=400, span=0)},
        "Trainer": {"model": db.artifact("Model")},
        "Evaluator": {
            "evaluation": db.artifact("ModelEvaluation", **(scores or SCORES)),
            "blessing": db.artifact(
                "ModelBlessing", blessed=int(blessed), reason="met" if blessed else "<low>\nmore"
            ),
        },
        "ReportGen": {"report": db.artifact("EvaluationReport")},
        "IndexGen": {
            "index": db.artifact(
                "Index",
                **({"built": 1, "images": 5000, "kind": "flat"} if blessed else {"built": 0}),
            )
        },
        "Pusher": {
            "pushed_model": db.artifact(
                "PushedModel",
                **({"pushed": 1, "pushed_version": pushed} if pushed else {"pushed": 0}),
            )
        },
    }
    window = [*earlier, made["ImageExampleGen"]["examples"]]
    for node, outputs in made.items():
        inputs = {"examples": window} if node == "TripletGen" else None
        db.node(run, node, DONE, outputs, inputs)
    return made


def cached_run(db: Database, run: str, made: dict[str, dict[str, int]]) -> None:
    for node, outputs in made.items():
        db.node(run, node, CACHED, outputs)


@pytest.fixture
def runs(config) -> list[RunSummary]:
    """One run of each kind."""
    db = Database(config)
    whole_run(db, "1", 0, blessed=True, pushed="17")
    made = whole_run(
        db,
        "2",
        1,
        blessed=False,
        **SCORES,
        **{"baseline precision@1": 0.95, "baseline map@r": 0.85},
        **{"change precision@1 lower": -0.08, "change precision@1 upper": -0.02},
        **{"change interval level": 0.95},
    )
    cached_run(db, "3", made)
    db.node("4", "ImageExampleGen", FAILED, span=2, error="ValueError: broken <b>")
    db.node("5", "ImageExampleGen", DONE, {"examples": db.artifact("Examples", span=3)})
    db.node("5", "ExampleValidator", FAILED, error="ValueError: label [x]")
    db.node("6", "ImageExampleGen", DONE, {"examples": db.artifact("Examples", span=4)})
    db.node("6", "Trainer", FAILED, error="OSError: no room")
    db.node("7", "ImageExampleGen", DONE, {"examples": db.artifact("Examples", span=5)})
    db.node("7", "Trainer", RUNNING)
    db.node("8", "ImageExampleGen", DONE, {"examples": db.artifact("Examples", span=6)})
    return read_runs(config)


def test_what_became_of_each_run(runs, config) -> None:
    assert [(r.state, r.node) for r in runs] == [
        ("pushed", None),
        ("rejected", None),
        ("nothing new", None),
        ("data rejected", "ImageExampleGen"),
        ("data rejected", "ExampleValidator"),
        ("failed", "Trainer"),
        ("killed", "Trainer"),
        ("killed", "ImageExampleGen"),  # between two nodes
    ]
    assert [r.span for r in runs] == [0, 1, 1, 2, 3, 4, 5, 6]
    assert [r.version for r in runs] == ["17"] + 7 * [None]
    assert [r.blessed for r in runs] == [True, False, False] + 5 * [None]
    assert [r.trained for r in runs] == [True, True] + 6 * [False]
    first, second, third, *_ = runs
    assert (first.window, second.window) == ((0,), (0, 1))
    assert (first.images, second.images, first.triplets) == (100, 101, 400)
    assert first.metrics == {"candidate": {"precision@1": 0.9, "map@r": 0.8, "queries": 40.0}}
    assert second.metrics["baseline"] == {"precision@1": 0.95, "map@r": 0.85}
    assert second.intervals == {"precision@1": (-0.08, -0.02)}  # of MAP@R there is none
    assert (second.interval_level, first.intervals, first.interval_level) == (0.95, {}, None)
    assert third.reason == "<low>\nmore"
    assert [r.reason for r in runs[3:6]] == [
        "ValueError: broken <b>",
        "ValueError: label [x]",
        "OSError: no room",
    ]
    assert [r.index for r in runs[:3]] == [{"images": 5000, "kind": "flat"}, {}, {}]
    assert [row["index"] for row in history_rows(runs[:2])] == ["5,000 flat", ""]
    with hold_lock(config, "run"):
        assert [r.state for r in read_runs(config)][-3:] == ["failed", "killed", "running"]
        assert read_runs(config, lock_is_ours=True) == runs


def test_a_blessing_that_was_revoked_later(config) -> None:
    db = Database(config)
    made = whole_run(db, "1", 0, blessed=True, pushed="17")
    (blessing,) = db.store.get_artifacts_by_id([made["Evaluator"]["blessing"]])
    blessing.custom_properties["blessed"].int_value = 0
    db.store.put_artifacts([blessing])
    (run,) = read_runs(config)
    assert (run.state, run.blessed, run.version) == ("pushed", False, "17")


def test_an_execution_that_was_marked_as_failed_tells_why(config) -> None:
    """TFX leaves an execution whose driver raised as running."""
    db = Database(config)
    db.node("1", "ImageExampleGen", RUNNING)
    execution = find_execution(db.store, config.pipeline.name, "1", "ImageExampleGen")
    mark_failed(db.store, execution, "ValueError: no files")
    (run,) = read_runs(config)
    assert (run.state, run.reason) == ("data rejected", "ValueError: no files")


def test_without_spans_there_is_no_span_0(config, path) -> None:
    whole_run(Database(config), "1", 0, blessed=True, pushed="17")
    path.write_text(path.read_text().replace("span-{SPAN}/*", "*"))
    (run,) = read_runs(load_config(str(path)))
    assert (run.span, run.window) == (None, ())


def history(path: Path, *options: str) -> Result:
    arguments = ["history", "--config", str(path), *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_table(runs, path) -> None:
    output = history(path).output
    rows = [line for line in output.splitlines() if line.startswith("│ 20")]
    assert len(rows) == len(runs)
    for run, row in zip(runs, rows, strict=True):
        assert f"│ {run.state} " in row
    assert "label [x]" in rows[4]
    assert [cell.strip() for cell in rows[1].split("│")][3:11] == [
        "1", "0, 1", "101", "400", "0.9000", "-0.0500 [-0.0800, -0.0200]", "0.8000", "-0.0500",
    ]  # fmt: skip
    assert "Changes are from the last blessed model on the same images, with their 95% " in output
    assert "The model was rejected once since" in output


def test_json(runs, path) -> None:
    found = json.loads(history(path, "--json", "--last", "7").output)
    assert [run["state"] for run in found] == [run.state for run in runs[1:]]
    assert found[0]["window"] == [0, 1]
    assert found[0]["intervals"] == {"precision@1": [-0.08, -0.02]}


@pytest.mark.parametrize("width", [80, 100, 170])
def test_a_narrow_terminal_shows_the_changes_and_says_what_it_leaves_out(runs, width) -> None:
    console = Console(width=width, force_terminal=True, color_system=None, file=io.StringIO())
    print_runs(console, "mine", runs)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    cells = [[c.strip() for c in line.split("│")] for line in text.splitlines() if "│" in line]
    (second,) = [number for number, row in enumerate(cells) if "rejected" in row]
    assert {"0.9000 -0.0500", "0.8000 -0.0500"} <= set(cells[second])
    assert "[-0.0800, -0.0200]" in cells[second + 1]
    assert "ValueError: broken <b>" in text
    left_out = "version" if width == 80 else "images" if width == 100 else None
    assert ("Too narrow for" in text) == (left_out is not None)
    if left_out:
        assert left_out in text.partition("Too narrow for")[2]
        assert left_out not in text.partition("┡")[0]


def test_the_last_runs_with_what_all_of_them_say(runs, path) -> None:
    output = history(path, "--last", "2").output
    assert len([line for line in output.splitlines() if line.startswith("│ 20")]) == 2
    assert "The model was rejected once since" in output  # six runs ago


def test_page_and_picture_in_files(runs, path, tmp_path) -> None:
    png, page = tmp_path / "new" / "history.png", tmp_path / "history.html"
    history(path, "--png", str(png), "--html", str(page))
    text = page.read_text()
    with Image.open(png) as picture:
        assert picture.format == "PNG"
    assert runs[0].report == "/gone/EvaluationReport/report.html"
    assert runs[3].report is None  # it ended at ExampleGen
    link = os.path.relpath("/gone/EvaluationReport/report.html", tmp_path)
    # In the table, in the charts of two metrics if it was judged, and in that of the minutes.
    assert text.count(f'href="{link}"') == 3 + 2 * 2 + 3
    assert text.count("<circle") == 2 + 2 + len(runs)
    assert text.count("<tr>") == 1 + len(runs)
    assert "broken &lt;b&gt;" in text
    assert "<b>" not in text
    assert "<script" not in text
    assert "&lt;low&gt;\nmore" in text  # all lines
    assert "://" not in text  # self-contained


def test_the_picture_shows_every_state(runs) -> None:
    with Image.open(io.BytesIO(history_png("mine", runs))) as image:
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    for run in runs:
        code = run.state.meaning.colour.removeprefix("#")
        assert tuple(bytes.fromhex(code)) in colours, run.state


def test_a_picture_without_metrics_and_of_one_run(runs) -> None:
    assert history_png("mine", runs[5:6]).startswith(b"\x89PNG")
    assert history_png("mine", runs[:1]).startswith(b"\x89PNG")


def test_before_the_first_run(path) -> None:
    with pytest.raises(NotRunError, match="has not run yet"):
        history(path)


HEAVY = ("tensorflow", "tfx", "apache_beam", "tensorflow_model_analysis", "matplotlib")


@pytest.mark.parametrize("command", ["summary", "history"])
def test_looking_loads_no_tensorflow(runs, path, command: str) -> None:
    """It takes seconds to load."""
    code = (
        "import sys; from pipeline.commands import main; "
        f"main([{command!r}, '--config', {str(path)!r}], standalone_mode=False); "
        f"assert not set({HEAVY}) & set(sys.modules), sorted(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def summary(path: Path, *options: str) -> str:
    arguments = ["summary", "--config", str(path), *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False).output


def test_the_summary_reads_the_report_of_the_evaluation(config, path, tmp_path) -> None:
    db = Database(config)
    made = whole_run(db, "1", 0, blessed=False)
    text = " ".join(summary(path).split())
    assert "There is no /gone/ModelEvaluation/evaluation.json. An older version" in text
    assert "Run the pipeline again." in text
    assert json.loads(summary(path, "--json"))["evaluation"] is None

    (evaluation,) = db.store.get_artifacts_by_id([made["Evaluator"]["evaluation"]])
    evaluation.uri = str(tmp_path / "evaluation")
    db.store.put_artifacts([evaluation])
    failure = Failure("map@r", "overall", 0.8, "too low")
    report = EvaluationReport(
        metrics={"candidate": {"overall": {"map@r": 0.8, "spread": math.nan, "queries": 40.0}}},
        failures=[failure],
    )
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "evaluation.json").write_text(report.model_dump_json())
    shown = summary(path)
    assert "map@r (overall): too low" in shown
    assert "There is no" not in shown
    found = json.loads(summary(path, "--json"))
    assert found["evaluation"]["metrics"]["candidate"]["overall"]["spread"] is None
    assert found["evaluation"]["failures"] == [dataclasses.asdict(failure)]
    assert found["run"]["state"] == "rejected"
    assert (found["rejections"]["count"], found["data_rejections"]["count"]) == (1, 0)
    assert found["problems"] == []
