"""Models that the disk has damaged: none is pushed, served or rolled back to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from components.pusher import UnusableModelError, push, try_model, versions
from modules.storage import CHECKSUMS_FILE, find_damage
from pipeline.served import VersionError, open_version
from tests.pipeline.served.served_versions import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model"))


def copy_of(model: Path, folder: Path) -> Path:
    import shutil

    shutil.copytree(model, folder)
    return folder


def spoil(path: Path) -> None:
    """Turns over one byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def variables(model: Path) -> Path:
    return next((model / "variables").glob("*.data-*"))


@pytest.mark.parametrize("damage", ["changed", "cut", "missing", "graph"])
def test_a_damaged_model_never_becomes_a_version(model, tmp_path, damage) -> None:
    broken, serving = copy_of(model, tmp_path / "broken"), tmp_path / "serving"
    if damage == "changed":
        spoil(variables(broken))
    elif damage == "cut":
        variables(broken).write_bytes(variables(broken).read_bytes()[:-3])
    elif damage == "missing":
        variables(broken).unlink()
    else:
        (broken / "saved_model.pb").write_bytes((broken / "saved_model.pb").read_bytes()[:200])
    with pytest.raises(UnusableModelError, match="it is not pushed"):
        push(str(broken), str(serving), check=try_model)
    assert versions(str(serving)) == []
    assert [path.name for path in serving.iterdir()] == [".lock"]
    push(str(model), str(serving), check=try_model)
    assert len(versions(str(serving))) == 1


def test_a_version_carries_its_checksums_and_serving_asks_them(model, tmp_path) -> None:
    extra = tmp_path / "operating_point.json"
    version = push(str(model), str(tmp_path / "serving"))
    folder = tmp_path / "serving" / str(version)
    sums = json.loads((folder / CHECKSUMS_FILE).read_text())
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert sums.keys() == files - {CHECKSUMS_FILE}
    assert find_damage(str(folder)) == []
    assert open_version(str(folder)).name == str(version)
    # A change that TensorFlow would not notice: an asset, a name in a graph, or another point.
    extra.write_text("{}")
    (folder / "saved_model.pb").open("ab").write(b"")
    spoil(folder / "fingerprint.pb")
    assert find_damage(str(folder)) == ["fingerprint.pb has changed"]
    with pytest.raises(VersionError, match=r"not as it was pushed: fingerprint.pb has changed"):
        open_version(str(folder))
    (folder / CHECKSUMS_FILE).write_text("{")
    assert find_damage(str(folder)) == [f"{CHECKSUMS_FILE} cannot be read"]
    # A version from before has none, and is served as before.
    (folder / CHECKSUMS_FILE).unlink()
    assert find_damage(str(folder)) == []


def test_what_newest_holds_and_has_lost_is_pushed_again(model, tmp_path) -> None:
    serving = str(tmp_path / "serving")
    first = push(str(model), serving)
    assert push(str(model), serving) == first
    spoil(variables(tmp_path / "serving" / str(first)))
    second = push(str(model), serving)
    assert second > first
    assert find_damage(f"{serving}/{second}") == []
