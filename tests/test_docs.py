"""README and docs say what is so: commands, links, paths, names, configurations, formulas."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

from modules.retrieval import make_gallery, score_queries
from modules.retrieval.definitions import metric_names
from modules.settings import LossSettings, ModelSettings
from pipeline.config import Config, parse_config
from pipeline.config.loading import CONFIGS
from pipeline.config.reference import reference
from tests.documents import (
    DOCUMENTS,
    PROJECT,
    block_commands,
    blocks,
    check_command,
    inline_commands,
    name_of,
    without_blocks,
)
from tests.modules.test_registries import choices

TEXTS = {name_of(path): path.read_text(encoding="utf-8") for path in DOCUMENTS}
TOPS = r"(?:modules|components|pipeline|kubeflow|tests|docs|\.ci)"


def commands() -> list[tuple[str, list[str]]]:
    return [
        (name, command)
        for name, text in TEXTS.items()
        for command in [*block_commands(text), *inline_commands(text)]
    ]


def header_commands(path: Path) -> list[list[str]]:
    """What the header of a ready configuration says to type; a line may go on in the next one."""
    header = path.read_text(encoding="utf-8").split("\n\n")[0]
    (said,) = re.findall(r"Command:(.*?)# Expect:", header, re.DOTALL)
    found: list[list[str]] = []
    for line in said.replace("#", "").splitlines():
        words = line.split()
        if words and words[0] in ("make", ".venv/bin/python"):
            found.append(words)
        elif words and words[0].startswith("--"):
            found[-1] += words
    return found


@pytest.mark.parametrize(
    ("document", "command"),
    [pytest.param(name, words, id=f"{name}: {' '.join(words)}") for name, words in commands()],
)
def test_every_command_exists_with_these_options(document, command, tmp_path) -> None:
    check_command(command, tmp_path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_commands_of_ready_configurations_exist(path: Path, tmp_path) -> None:
    assert header_commands(path)
    for command in header_commands(path):
        check_command(command, tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        "make nothing",
        "make run CONFIGURATION=mine.toml",
        "export TRIPLET_CONFIGURATION=mine.toml",
        ".venv/bin/python -m pipeline runs",
        ".venv/bin/python -m pipeline gc --keeps 10",
        ".venv/bin/python -m kubeflow run",
        ".venv/bin/python -m tests.benchmarks.bench_nothing",
        ".venv/bin/python -m tests.benchmarks.bench_models --epochs 3",
        ".venv/bin/nothing",
        "kubectl apply -k kubeflow/manifests/nothing",
        "tfx run create",
    ],
)
def test_a_wrong_command_is_noticed(words: str, tmp_path) -> None:
    with pytest.raises((AssertionError, OSError, click.ClickException)):
        check_command(words.split(), tmp_path)


def heading_anchors(text: str) -> set[str]:
    """As they are made of headings: lower case, dashes for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.*)$", without_blocks(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken_links(document: str, text: str) -> list[str]:
    folder = (PROJECT / document).parent
    broken = []
    for link in re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", without_blocks(text)):
        if re.match(r"https?://", link):
            continue
        path, _, anchor = link.partition("#")
        target = (folder / path).resolve() if path else PROJECT / document
        there = target.exists()
        if there and anchor:
            there = anchor in heading_anchors(target.read_text(encoding="utf-8"))
        if not there:
            broken.append(link)
    return broken


def broken_paths(text: str) -> list[str]:
    """Paths of this project that are named and are not there; `*` and `…` stand for anything."""
    named = re.findall(rf"(?<![\w./-]){TOPS}/[\w./*-]*", text)
    paths = {path.rstrip(".") for path in named if not path.endswith("credentials.env")}
    return sorted(path for path in paths if not any(PROJECT.glob(path.rstrip("/"))))


def broken_names(text: str) -> list[str]:
    """Dotted names of modules, or of something in a module, that are not there."""
    broken = []
    for dotted in re.findall(rf"`({TOPS}(?:\.\w+)+)`", text):
        parts = dotted.split(".")
        if parts[-1] in ("py", "md", "toml"):
            continue
        whole, owner = PROJECT.joinpath(*parts), PROJECT.joinpath(*parts[:-1])
        files = [owner.with_suffix(".py"), owner / "__init__.py", owner / "__init__.pyi"]
        inside = any(
            file.exists() and re.search(rf"\b{parts[-1]}\b", file.read_text(encoding="utf-8"))
            for file in files
        )
        if not (whole.exists() or whole.with_suffix(".py").exists() or inside):
            broken.append(dotted)
    return broken


@pytest.mark.parametrize("document", TEXTS)
def test_what_a_document_points_to_is_there(document: str) -> None:
    text = TEXTS[document]
    assert not broken_links(document, text)
    assert not broken_paths(text)
    assert not broken_names(text)
    assert not unknown_keys(text)


def unknown_keys(text: str) -> list[str]:
    """Keys named as `[table] key` that the configuration does not have."""
    return [
        f"[{table}] {key}"
        for table, key in re.findall(r"`\[(\w+)\] (\w+)", text)
        if table not in Config.model_fields
        or key not in Config.model_fields[table].annotation.model_fields
    ]


def test_what_is_missing_is_noticed() -> None:
    text = "[a](docs/no.md) [b](README.md#no) [c](README.md#two-commands) [d](LICENSE)"
    assert broken_links("README.md", text) == ["docs/no.md", "README.md#no"]
    assert broken_links("docs/metrics.md", "[a](../README.md) [b](no.md)") == ["no.md"]
    text = "`modules/losses/no.py`, `modules/losses/`, `modules/contract.py`, kubeflow/no/x.yaml."
    assert broken_paths(text) == ["kubeflow/no/x.yaml", "modules/losses/no.py"]
    text = "`modules.losses.miners`, `modules.losses.no`, `modules.contract.make_example`"
    assert broken_names(text) == ["modules.losses.no"]
    assert unknown_keys("`[data] path`, `[data] no = 1`, `[no] path`") == ["[data] no", "[no] path"]


def test_every_page_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\(([^)]+)\)", TEXTS["README.md"]))
    assert {name_of(path) for path in DOCUMENTS} - {"README.md"} <= linked


def test_the_configuration_page_is_what_the_settings_say() -> None:
    """`make docs` writes it anew."""
    assert TEXTS["docs/configuration.md"] == reference()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(block, id=f"{name}-{number}")
        for name, text in TEXTS.items()
        for number, block in enumerate(blocks(text, "toml"))
    ],
)
def test_configurations_are_valid(text: str) -> None:
    """Some are parts: they need a name and a path, and nothing else."""
    tables = tomllib.loads(text)
    needed = {"pipeline": {"name": "mine"}, "data": {"path": "photos"}}
    parse_config(needed | {n: needed.get(n, {}) | t for n, t in tables.items()}, "a document")


@pytest.mark.parametrize(
    "text", [block for text in TEXTS.values() for block in blocks(text, "mermaid")]
)
def test_pictures_have_no_sign_that_their_language_takes_for_its_own(text: str) -> None:
    """An @ outside of quotes is the id of an arrow, and nothing is drawn."""
    assert "@" not in re.sub(r'"[^"]*"', "", text)
    assert text.count('"') % 2 == 0


def test_the_metrics_page_defines_every_metric() -> None:
    names = {re.sub(r"@\d+$", "@k", name) for name in metric_names([1], True, True)}
    names = {re.sub(r"far=.*", "far=x", name) for name in names}
    assert {name for name in names if f"| `{name}` |" not in TEXTS["docs/metrics.md"]} == set()


@pytest.mark.parametrize(
    ("key", "page"),
    [*((key, "training") for key in ("mining", "loss", "distance")), ("name", "backbones")],
)
def test_a_page_knows_every_choice(key: str, page: str) -> None:
    tables = {**LossSettings.model_fields, **ModelSettings.model_fields}
    known = choices(tables[key].annotation)
    assert len(known) > 1
    assert {c for c in known if f"`{c}`" not in TEXTS[f"docs/{page}.md"]} == set()


def test_the_example_of_the_metrics_page() -> None:
    assert "`map@r` = (1/2) · (1/1) = 1/2" in TEXTS["docs/metrics.md"]
    gallery = make_gallery([*"qabc"], ["x", "x", "y", "x"], [[0.0], [0.1], [0.2], [0.3]])
    scores = score_queries(gallery, ks=[1, 3])
    of_query = {name: values[gallery.ids.tolist().index("q")] for name, values in scores.items()}
    assert of_query["precision@1"] == 1
    assert of_query["precision@3"] == 2 / 3
    assert of_query["r_precision"] == 1 / 2
    assert of_query["map@r"] == 1 / 2
