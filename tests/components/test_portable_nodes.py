"""The nodes of Beam that no small pipeline has at once, on Prism: the same as in process.

The others run there as a whole chain, see tests/e2e/test_local_runner.py.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.image_example_gen import ImageExampleGen
from components.sheet_example_gen import SheetExampleGen
from pipeline.config import BeamSettings
from tests.components.data_audit.test_data_audit import OPEN, audit, model_artifact
from tests.components.image_example_gen import test_image_example_gen as images
from tests.components.portable import needs_prism, prism_job_server
from tests.components.sheet_example_gen import test_sheet_example_gen as sheets
from tests.real_data import digits, examples_artifact

# Threads of Beam in this process complain when the server ends.
pytestmark = [
    needs_prism,
    pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"),
]


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Iterator[list[str]]:
    """The options of Beam on Prism."""
    with prism_job_server(tmp_path_factory.mktemp("prism")) as endpoint:
        yield BeamSettings(runner="portable", endpoint=endpoint).arguments


def test_images_in_folders(tmp_path: Path, monkeypatch, there) -> None:
    """With what goes through side inputs: faults, ignored files, distractors, corrections."""
    files = {f"{label}/{i}.png": images.digit(i) for label in ("a", "b", "far") for i in range(4)}
    files |= {"a/bad.png": b"no image", "b/notes.txt": b"", "b/4.bmp": images.digit(4, "BMP")}
    images.write_files(tmp_path / "in", files)
    fixes = tmp_path / "fixes.csv"
    fixes.write_text("id,action,value\na/0.png,relabel,b\nb/0.png,drop,\n")
    node = ImageExampleGen(
        str(tmp_path / "in"), distractors=["far"], corrections=str(fixes),
        max_undecodable_fraction=0.5,
    )  # fmt: skip
    here, found = images.run(node, tmp_path / "here")
    monkeypatch.setattr(images, "BEAM_ARGS", there)
    elsewhere, same = images.run(node, tmp_path / "there")
    assert found == same
    # 4 + 5 in a and b, less the one that is dropped, and 4 far ones.
    assert {split: len(rows) for split, rows in same.items()}["distractors"] == 4
    assert sum(map(len, same.values())) == 4 + 5 - 1 + 4
    assert here.split_names == elsewhere.split_names
    for name in ("counts.json", "undecodable.txt"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_a_sheet(tmp_path: Path, monkeypatch, there) -> None:
    rows = sheets.write_images(tmp_path / "in")
    sheets.write_sheet(tmp_path / "in", "csv", rows)
    node = SheetExampleGen(str(tmp_path / "in"), "csv")
    _, found = sheets.run(node, tmp_path / "here")
    monkeypatch.setattr(sheets, "BEAM_ARGS", there)
    _, same = sheets.run(node, tmp_path / "there")
    assert found == same
    assert sum(map(len, same.values())) == len(rows)


def test_the_audit_with_a_model(tmp_path: Path, there) -> None:
    """Neighbours by a model take side inputs of vectors, which the first run of a chain lacks."""
    rows = digits(6)
    rows[0] = (rows[0][0], b"8", rows[0][2])
    splits = {"train": rows[:40], "eval": rows[40:]}
    examples = examples_artifact(tmp_path / "examples", splits)
    model = model_artifact(tmp_path / "model")
    written = []
    for name, arguments in (("here", []), ("there", there)):
        output = audit(tmp_path / name, examples, models=[model], beam_args=arguments, **OPEN)
        written.append({p.name: p.read_bytes() for p in Path(output.uri).iterdir()})
    assert written[0] == written[1]
    assert b'"compared": 60' in written[0]["audit.json"]
