"""A user's modules are in the key of the cache, and are tried before the first node starts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pipeline.config import load_config
from pipeline.definition import create_pipeline
from pipeline.own_code import OWN_CODE_FINGERPRINT, own_code_fingerprint
from pipeline.runtime import ConfigError

LOSS = """
import tensorflow as tf
import helpers.power
class Mean:
    def __call__(self, labels, embeddings):
        return tf.reduce_mean(embeddings ** helpers.power.N)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The package `own_losses`, the package `helpers` that it imports, and a module beside them."""
    for package in ("own_losses", "helpers"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "own_losses" / "mean.py").write_text(LOSS)
    (tmp_path / "own_losses" / "tools.py").write_text("import hypothesis\n")
    (tmp_path / "helpers" / "power.py").write_text("N = 2\n")
    (tmp_path / "beside.py").write_text("N = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [n for n in sys.modules if n.partition(".")[0] in ("own_losses", "helpers")]:
        del sys.modules[name]


def fingerprint() -> str | None:
    return own_code_fingerprint(["own_losses.mean"])


@pytest.mark.parametrize(
    ("file", "text", "changes"),
    [
        ("own_losses/mean.py", "X = 1\n", True),
        ("own_losses/mean.py", "# a comment\n", False),
        ("own_losses/tools.py", "X = 1\n", True),
        ("helpers/power.py", "X = 1\n", True),
        ("beside.py", "X = 1\n", False),
    ],
)
def test_what_the_module_is_made_of_changes_the_fingerprint(
    folder: Path, file: str, text: str, changes: bool
) -> None:
    before = fingerprint()
    path = folder / file
    path.write_text(path.read_text() + text)
    assert (fingerprint() != before) == changes


def test_modules_without_a_package_of_this_project_and_none() -> None:
    assert own_code_fingerprint([]) is None
    here = own_code_fingerprint(["modules.losses.triplet_loss"])
    assert here is not None
    assert here != own_code_fingerprint(["modules.losses.miners"])
    assert own_code_fingerprint(["lazy_loader"])  # an installed one
    with pytest.raises(ValueError, match="there is no module 'no_such_module'"):
        own_code_fingerprint(["no_such_module.x"])


def config(folder: Path, loss: str):
    file = folder / "config.toml"
    file.write_text(
        f'[pipeline]\nname = "p"\ndirectory = "{folder}"\n[data]\npath = "d"\n[training]\n{loss}'
    )
    return load_config(str(file))


def of_trainer(folder: Path, loss: str = "") -> str | None:
    nodes = {node.id: node for node in create_pipeline(config(folder, loss)).components}
    return json.loads(nodes["Trainer"].exec_properties["custom_config"])[OWN_CODE_FINGERPRINT]


def test_trainer_gets_the_fingerprint(folder: Path) -> None:
    assert of_trainer(folder) is None
    assert of_trainer(folder, 'loss = "own_losses.mean:Mean"') == fingerprint()


def test_a_loss_that_does_not_run_is_a_fault_of_the_configuration(folder: Path) -> None:
    path = folder / "own_losses" / "mean.py"
    path.write_text(LOSS.replace("tf.reduce_mean", "list"))
    with pytest.raises(
        ConfigError, match=r"training.loss = 'own_losses.mean:Mean' fails on a batch"
    ):
        config(folder, 'loss = "own_losses.mean:Mean"')
    with pytest.raises(ConfigError, match=r"training.loss: there is no module 'own_gains'"):
        config(folder, 'loss = "own_gains.mean:Mean"')
