"""`index push` from its options to what it prints; the databases have tests of their own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import pipeline.operations.index_push as index_push
from pipeline.commands import main
from pipeline.commands.index import KINDS
from pipeline.operations import alias_of
from pipeline.runtime import ConfigError, ExitCode, NotRunError
from pipeline.vector_databases import KINDS as KNOWN, open_database
from tests.modules.index.index_folders import fake_model
from tests.pipeline.vector_databases.reading import make_version


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    path = tmp_path / "birds.toml"
    path.write_text(f'[pipeline]\nname = "my-birds"\ndirectory = "{tmp_path}"\n[data]\npath="x"\n')
    return path


@pytest.fixture
def serving(tmp_path: Path) -> Path:
    """Versions 9 and 10, of which 10 is the newer one."""
    folder = tmp_path / "my-birds" / "serving"
    for version, model in (("9", b"one"), ("10", b"two")):
        make_version(folder / version, model, images=5)
    return folder


def push(config_file: Path, *options: str) -> Result:
    arguments = ["index", "push", "--config", str(config_file), "--to", "qdrant", *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def test_the_newest_version_is_pushed_and_said(config_file, serving, tmp_path: Path) -> None:
    url = str(tmp_path / "qdrant")
    done = json.loads(push(config_file, "--url", url, "--json").stdout)
    assert done["collection"].startswith(f"my_birds_{done['model'][:12]}_")
    expected = {
        "to": "qdrant", "url": url, "alias": "my_birds", "version": 10, "images": 5,
        "dimension": 8, "loaded": 5, "done_before": False, "before": None, "removed": [],
    }  # fmt: skip
    assert expected.items() <= done.items()
    with open_database("qdrant", url, {}) as database:
        assert database.served("my_birds") == done["collection"]
    again = push(config_file, "--url", url)
    assert "This gallery was there and served already." in again.stdout
    assert done["collection"] in again.stdout
    earlier = push(config_file, "--url", url, "--model", str(serving / "9"), "--keep", "0")
    lines = {
        line.split("│")[1].strip(): line for line in earlier.stdout.splitlines() if "│" in line
    }
    assert done["collection"] in lines["served before"]
    assert done["collection"] in lines["removed"]
    assert " 9 " in lines["version"]
    assert "already" not in earlier.stdout
    other = push(config_file, "--url", url, "--name", "other", "--json")
    assert json.loads(other.stdout)["collection"].startswith("other_")


def test_a_log_gets_a_line_now_and_then(config_file, serving, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(index_push, "_LINE_SECONDS", 0.0)
    result = push(config_file, "--url", str(tmp_path / "qdrant"), "--json")
    assert "5 of 5 images" in result.stderr
    assert json.loads(result.stdout)["loaded"] == 5


def test_nothing_was_pushed_yet(config_file: Path) -> None:
    with pytest.raises(NotRunError, match=r"no model in .*serving.*--model"):
        push(config_file, "--url", "qdrant")


@pytest.mark.parametrize("name", ["Birds", "9birds", "a" * 31, "a-b", 'a"b', ""])
def test_names_that_databases_would_change(config_file, serving, name: str) -> None:
    with pytest.raises(ConfigError, match="is no name for a collection"):
        push(config_file, "--url", "qdrant", f"--name={name}")


def test_a_model_without_an_index(config_file, tmp_path: Path) -> None:
    fake_model(tmp_path / "3")
    with pytest.raises(ConfigError, match=r"a model and no index"):
        push(config_file, "--url", "qdrant", "--model", str(tmp_path / "3"))


def test_a_model_without_a_configuration_needs_a_name(serving: Path, tmp_path: Path) -> None:
    arguments = ["index", "push", "--model", str(serving), "--to", "qdrant", "--json"]
    arguments += ["--url", str(tmp_path / "qdrant")]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == ExitCode.USAGE
    assert "add --name" in done.output
    done = CliRunner().invoke(main, [*arguments, "--name", "birds"], catch_exceptions=False)
    assert (json.loads(done.stdout)["version"], json.loads(done.stdout)["alias"]) == (10, "birds")


@pytest.mark.parametrize(
    ("pipeline", "alias"),
    [("birds-of_2024", "birds_of_2024"), ("2024-a", "p_2024_a")],
)
def test_the_default_name_is_one_that_databases_take(pipeline: str, alias: str) -> None:
    assert alias_of(pipeline) == alias


def test_the_command_offers_every_database() -> None:
    """It does not import what knows them: the help is fast."""
    assert KINDS == KNOWN
