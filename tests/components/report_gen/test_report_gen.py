"""ReportGen through its real executor: what is in the page, and that it never ends a run."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from tfx.types import standard_artifacts

from modules.gate import read_report
from modules.retrieval import read_kept_queries
from modules.runtime import node_times
from tests.components.report_gen.report_node import HOSTILE, rows


def data_of(page: Path) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def test_the_data_of_the_page_are_what_evaluator_kept(reported, page) -> None:
    queries = read_kept_queries(f"{reported.inputs['evaluation'][0].uri}/queries.parquet")
    data = data_of(page)
    labels = {name: label for _, label, name in rows()}
    assert sorted(data["images"]["id"]) == sorted(one.decode() for one in labels)
    assert all(data["images"]["picture"])
    assert len(data["queries"]["image"]) == len(rows())
    for query, image in enumerate(data["queries"]["image"]):
        name = data["images"]["id"][image].encode()
        (row,) = (i for i, one in enumerate(queries.ids) if one == name)
        near = [data["images"]["id"][one].encode() for one in data["queries"]["near"][query]]
        assert near == queries.neighbours[row].tolist()
        hits = [bool(data["queries"]["hits"][query] >> place & 1) for place in range(5)]
        assert hits == [labels[one] == labels[name] for one in near]
        far = [round(1000 * float(one)) for one in queries.distances[row]]
        assert data["queries"]["far"][query] == far
        assert data["queries"]["state"][query] == int(hits[0])
    assert len(data["map"]["x"]) == len(rows())
    # The metric of the evaluation counts the same errors.
    wrong = data["queries"]["state"].count(0)
    overall = read_report(reported.inputs["evaluation"][0].uri).metrics["candidate"]["overall"]
    assert overall["precision@1"] == pytest.approx(1 - wrong / len(rows()))
    assert f"{wrong} of {len(rows())} queries have a neighbour of another class first" in (
        page.read_text()
    )


def test_the_page_says_it_all_and_escapes_every_text(reported, page) -> None:
    text = page.read_text()
    assert page.stat().st_size == reported.made.get_int_custom_property("page_bytes")
    assert "Not blessed" in text
    evaluation = read_report(reported.inputs["evaluation"][0].uri)
    (failure,) = evaluation.failures
    assert failure.metric == "map@r"
    assert failure.reason in text
    for part in (
        "Map of the embedding", "Classes, worst first", "Most confused", "operating point",
        "steps used up", "loss: 0.3333 at 2", "&lt;b&gt;", "Churn",
        "images whose nearest neighbour changed",
        "Audit of the data", "twin &lt;u&gt;",
        "&lt;photos&gt;", "tensorflow", "digits &lt;b&gt;", "surely not 0.9 worse",
    ):  # fmt: skip
        assert part.lower() in text.lower(), part
    # One script, which the policy names; nothing hostile, no address, no sign that steers.
    assert text.count("<script") == 2
    assert HOSTILE.decode()[:25] not in text
    assert "\x1b" not in text
    assert "://" not in text
    assert "<i>" not in re.sub(r'<i(?: style="[^"]*")?></i>', "", text)


def test_the_card_is_the_same_for_the_same_model(reported) -> None:
    card = Path(reported.made.uri, "model_card.md").read_text()
    node_times.note({"Trainer": 12.0})
    again = reported.report("again")
    assert "12.0" in Path(again.uri, "report.html").read_text()
    assert Path(again.uri, "model_card.md").read_text() == card
    for part in ("# digits \\<b\\>", "| map@r | ", "missed by", "Operating point", "signatures"):
        assert part in card
    assert "\x1b" not in card
    assert "<script>" not in card


@pytest.mark.parametrize("broken", ["evaluation", "settings", "examples"])
def test_a_fault_is_a_small_page_and_ends_nothing(reported, tmp_path, caplog, broken) -> None:
    artifact = {
        "evaluation": standard_artifacts.ModelEvaluation,
        "settings": standard_artifacts.ModelEvaluation,
        "examples": standard_artifacts.Examples,
    }[broken]()
    artifact.uri = str(tmp_path / "<nothing>")
    if broken == "settings":
        shutil.copytree(reported.inputs["evaluation"][0].uri, artifact.uri)
        Path(artifact.uri, "evaluation.json").write_text('{"metrics": 3}')
    if broken == "examples":
        artifact.split_names = '["eval"]'
        folder = Path(artifact.uri, "Split-eval")
        folder.mkdir(parents=True)
        (folder / "data.gz").write_bytes(b"no records")
    key = "examples" if broken == "examples" else "evaluation"
    made = reported.report(broken, **{key: [artifact]})
    text = Path(made.uri, "report.html").read_text()
    assert "The report could not be written" in text
    assert "the report could not be written" in caplog.text  # a warning
    assert made.get_string_custom_property("fault").partition(":")[0] in text
    assert not Path(made.uri, "model_card.md").exists()
    assert "<nothing>" not in text


def test_what_is_not_there_is_left_out(reported, tmp_path) -> None:
    folder = tmp_path / "evaluation"
    shutil.copytree(reported.inputs["evaluation"][0].uri, folder)
    (folder / "queries.parquet").unlink()
    (folder / "churn.json").write_text("{broken")
    artifact = standard_artifacts.ModelEvaluation()
    artifact.uri = str(folder)
    made = reported.report("bare", evaluation=[artifact], model_run=[])
    assert not made.get_string_custom_property("fault")
    text = Path(made.uri, "report.html").read_text()
    assert "Not blessed" in text
    assert 'id="data"' not in text
    assert "Map of the embedding" not in text
    assert 'id="training"' not in text
