"""The fingerprint of a model: its bytes and nothing beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from modules.index import model_fingerprint
from tests.modules.index.index_folders import fake_model


def test_a_copy_is_the_same_model_and_what_lies_beside_it_is_not_of_it(tmp_path: Path) -> None:
    model = fake_model(tmp_path / "model")
    (model / "assets.extra").mkdir()
    (model / "assets.extra" / "card.md").write_text("card")
    found = model_fingerprint(str(model))
    version = tmp_path / "7"
    shutil.copytree(model, version)
    (version / "index").mkdir()
    (version / "index" / "index.json").write_text("{}")
    (version / "operating_point.json").write_text("{}")
    (version / "model_card.md").write_text("# A model")
    (version / "compatibility").mkdir()
    (version / "compatibility" / "map.npy").write_text("map")
    assert model_fingerprint(str(version)) == model_fingerprint(f"{version}/") == found
    assert model_fingerprint(f"file://{version}") == found  # by TensorFlow's file access
    assert len(found) == 64


def test_every_byte_name_and_border_counts(tmp_path: Path) -> None:
    def changed_by(change) -> str:
        folder = fake_model(tmp_path / str(len(list(tmp_path.iterdir()))))
        change(folder)
        return model_fingerprint(str(folder))

    changes = [
        lambda f: None,
        lambda f: (f / "saved_model.pb").write_bytes(b"graph!"),
        lambda f: (f / "saved_model.pb").write_bytes(b"grapH"),
        lambda f: (f / "variables" / "variables.index").rename(f / "variables" / "other"),
        lambda f: (f / "variables" / "empty").touch(),
        lambda f: (f / "assets.extra").mkdir() or (f / "assets.extra" / "a").write_bytes(b"a"),
        # A byte moves from the end of one file to the beginning of the next.
        lambda f: (
            (f / "saved_model.pb").write_bytes(b"grap"),
            (f / "variables" / "variables.index").write_bytes(b"hindex"),
        ),
    ]
    found = [changed_by(change) for change in changes]
    assert len(set(found)) == len(changes)
    assert changed_by(changes[0]) == found[0]


def test_a_folder_without_a_model_has_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no saved_model\.pb"):
        model_fingerprint(str(tmp_path))
