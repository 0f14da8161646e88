"""The fingerprint of a node's code covers what the node runs, and nothing else."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline import fingerprint
from pipeline.config import PROJECT, load_config
from pipeline.definition import code_entries, create_pipeline
from pipeline.fingerprint import (
    CODE_FINGERPRINT,
    PACKAGES,
    code_fingerprint,
    file_fingerprint,
    folder_fingerprint,
    import_closure,
)


def config(folder: Path, data: str = ""):
    file = folder / "config.toml"
    file.write_text(f'[pipeline]\nname = "p"\ndirectory = "{folder}"\n[data]\npath = "d"\n{data}')
    return load_config(str(file))


@pytest.fixture(scope="module")
def entries(tmp_path_factory) -> dict[str, set[str]]:
    """What each node with code of this project begins with, of all ExampleGens."""
    found = {}
    spans = 'split = "hash"\npattern = "{SPAN}/*"\n[retraining]\ntolerated_drop = 0.01'
    gallery = '[index]\ngallery = "images"\npath = "catalogue"'
    for data in ("", 'format = "images"', 'format = "csv"', spans, gallery):
        folder = tmp_path_factory.mktemp("config")
        for node in create_pipeline(config(folder, data)).components:
            if of_node := code_entries(node):
                found[node.id] = of_node
                assert node.exec_properties[CODE_FINGERPRINT] == code_fingerprint(of_node)
            else:
                assert CODE_FINGERPRINT not in node.exec_properties
    return found


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A copy of the sources that the fingerprint looks at."""
    for package in PACKAGES:
        shutil.copytree(PROJECT / package, tmp_path / package)
    monkeypatch.setattr(fingerprint, "PROJECT", tmp_path)
    return tmp_path


def forget() -> None:
    """Sources are read once in a process."""
    fingerprint._imports.cache_clear()
    fingerprint._handed_on.cache_clear()


def changed(entries: dict[str, set[str]], file: Path, text: str) -> set[str]:
    """The nodes whose fingerprint changes when something is added to a file."""
    forget()
    before = {node: code_fingerprint(of_node) for node, of_node in entries.items()}
    file.write_text(file.read_text() + text)
    forget()
    after = {node: code_fingerprint(of_node) for node, of_node in entries.items()}
    return {node for node in entries if before[node] != after[node]}


def test_which_nodes_have_code_of_this_project(entries) -> None:
    assert set(entries) == {
        "ImportExampleGen", "ImageExampleGen", "SheetExampleGen", "StatisticsGen",
        "ExampleValidator", "TrainingDecision", "DataAudit", "Transform", "TripletGen", "Trainer",
        "Evaluator", "ReportGen", "IndexGen", "Pusher", "GalleryExampleGen", "IndexUpdate",
        "UpdatePusher",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("file", "nodes"),
    [
        ("modules/losses/triplet_loss.py", {"Trainer"}),
        ("modules/training/optimizers.py", {"Trainer"}),
        ("modules/retrieval/metrics.py", {"Evaluator"}),
        ("modules/retrieval/verification.py", {"Evaluator"}),
        ("modules/retrieval/clustering.py", {"Evaluator"}),
        # Training stops early by the scores of the Evaluator, and may be skipped by them.
        (
            "modules/retrieval/scores.py",
            {"DataAudit", "Evaluator", "Trainer", "TrainingDecision"},
        ),
        ("components/training_decision/comparing.py", {"TrainingDecision"}),
        ("components/triplet_gen/sampling.py", {"TripletGen"}),
        ("components/pusher/versioned_push.py", {"Pusher", "UpdatePusher"}),
        ("components/index_gen/shards.py", {"IndexGen", "IndexUpdate"}),
        ("components/data_audit/transforms.py", {"DataAudit"}),
        ("modules/audit/near.py", {"DataAudit"}),
        ("modules/audit/suspects.py", {"DataAudit", "TripletGen"}),
        ("modules/report/charts.py", {"ReportGen"}),
        ("modules/index/tuning.py", {"IndexGen", "IndexUpdate"}),
        # Pusher compares that of the index with the model, Evaluator names two models by it.
        (
            "modules/index/fingerprint.py",
            {"IndexGen", "IndexUpdate", "Pusher", "UpdatePusher", "Evaluator"},
        ),
        (
            "components/spans/driver.py",
            {"ImportExampleGen", "ImageExampleGen", "SheetExampleGen", "GalleryExampleGen"},
        ),
        ("components/image_example_gen/driver.py", {"ImageExampleGen", "GalleryExampleGen"}),
        ("modules/preprocessing.py", {"Transform"}),
        ("components/transform/image_choice.py", {"Transform"}),
        ("modules/settings/training.py", {"Trainer"}),
        ("pipeline/operations/summary.py", set()),
        ("pipeline/definition.py", set()),
    ],
)
def test_an_edit_changes_the_nodes_that_run_the_code(entries, project, file, nodes) -> None:
    assert changed(entries, project / file, "\nADDED = 1\n") == nodes


def test_comments_docstrings_and_layout_do_not_count(entries, project) -> None:
    file = project / "modules/losses/triplet_loss.py"
    assert changed(entries, file, "\n\n# A comment.\n") == set()
    file.write_text(file.read_text().replace('"""', '"""Once more: ', 1))
    assert changed(entries, file, "") == set()


def test_every_file_for_nodes_is_in_the_fingerprint_of_a_node(entries) -> None:
    """A file that is moved or imported in another way must not leave the keys unnoticed."""
    covered = set().union(*map(import_closure, entries.values()))
    files = {
        ".".join(path.relative_to(PROJECT).with_suffix("").parts).removesuffix(".__init__")
        for folder in ("modules", "components")
        for path in (PROJECT / folder).rglob("*.py")
    }
    # What builds the nodes, what the resolvers do, what searches settings, what reads an index and
    # what draws many runs: the cache holds no results of theirs.
    outside = {
        name
        for name in files - covered
        if not name.endswith((".component", ".image_example_gen.splits"))
        and not name.startswith(("components.resolvers", "components.metadata", "modules.tuning"))
        and name not in ("modules.index.gallery", "modules.index.matching", "modules.report.trends")
        and not (PROJECT.joinpath(*name.split(".")) / "__init__.py").exists()
    }
    assert outside == set()


# One process imports the libraries once and asks a child of its own for each entry.
_IMPORT = """
import importlib, json, os, sys
import tensorflow, apache_beam, tensorflow_transform, tensorflow_model_analysis, tfx.components
found = {}
for entry in json.loads(sys.argv[1]):
    read, write = os.pipe()
    if not os.fork():
        importlib.import_module(entry)
        names = [m for m in sys.modules if m.partition(".")[0] in json.loads(sys.argv[2])]
        os.write(write, json.dumps(names).encode())
        os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        found[entry] = json.loads(file.read())
print(json.dumps(found))
"""


@pytest.mark.slow
def test_the_closure_holds_all_that_python_imports(entries) -> None:
    every = sorted(set().union(*entries.values()))
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT, json.dumps(every), json.dumps(PACKAGES)],
        cwd=PROJECT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    for entry, imported in json.loads(done.stdout.splitlines()[-1]).items():
        assert set(imported) <= import_closure([entry]), entry


def test_a_module_that_is_not_there() -> None:
    with pytest.raises(ValueError, match=r"no module 'modules.nowhere'"):
        code_fingerprint(["modules.nowhere"])
    with pytest.raises(ValueError, match="no module 'json'"):
        code_fingerprint(["json"])


def test_only_type_checkers_import(tmp_path, monkeypatch) -> None:
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "__init__.py").touch()
    for name, text in {
        "a": "if TYPE_CHECKING:\n    import modules.b\nelse:\n    import modules.c\n",
        "b": "",
        "c": "def f():\n    from modules import d\n",
        "d": "import typing\nif typing.TYPE_CHECKING:\n    from modules import b\n",
    }.items():
        (tmp_path / "modules" / f"{name}.py").write_text(text)
    monkeypatch.setattr(fingerprint, "PROJECT", tmp_path)
    forget()
    assert import_closure(["modules.a"]) == {"modules", "modules.a", "modules.c", "modules.d"}


def test_files(tmp_path) -> None:
    file = tmp_path / "schema.pbtxt"
    assert file_fingerprint(str(file)) is None
    file.write_text("a")
    before = file_fingerprint(str(file))
    file.write_text("b")
    assert before is not None
    assert file_fingerprint(str(file)) not in (None, before)
    assert file_fingerprint(f"file://{file}") == file_fingerprint(str(file))


def test_an_edited_schema_is_a_new_parameter(tmp_path) -> None:
    schema = tmp_path / "schema.pbtxt"
    found = []
    for text in ("# one", "# two"):
        schema.write_text(text)
        pipeline = create_pipeline(config(tmp_path, f'schema_file = "{schema}"'))
        (node,) = [node for node in pipeline.components if node.id == "ImportSchemaGen"]
        found.append(node.exec_properties["schema_fingerprint"])
    assert found[0] != found[1]


def test_a_folder_is_what_its_files_are(tmp_path: Path) -> None:
    assert folder_fingerprint(None) is None
    assert folder_fingerprint("hf://keras/dinov2_small") is None  # its name stands for it
    assert folder_fingerprint(str(tmp_path)) is None
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "config.json").write_text("{}")
    first = folder_fingerprint(str(tmp_path))
    assert folder_fingerprint(f"file://{tmp_path}") == first
    (tmp_path / "below" / "config.json").write_text("{ }")
    assert folder_fingerprint(str(tmp_path)) not in (None, first)
