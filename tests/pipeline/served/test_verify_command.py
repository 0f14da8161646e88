"""`python -m pipeline verify`: the verdict, what is said of it, and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pipeline.commands import main
from pipeline.runtime import ConfigError
from pipeline.served import VersionError, open_version, squared_distance
from tests.components.triplet_gen.triplet_models import brightest_blocks
from tests.pipeline.served.served_versions import GALLERY, write_operating_point, write_version


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> dict[str, Path]:
    """A digit, and those of the gallery that share 3 and 2 of its 4 blocks: distances ½ and 1."""
    folder = tmp_path_factory.mktemp("photos")
    first = brightest_blocks(GALLERY[0][0])
    found = {"one": GALLERY[0][0]}
    for image, _, _ in GALLERY[1:]:
        name = {3: "near", 2: "far"}.get(len(first & brightest_blocks(image)))
        if name:
            found.setdefault(name, image)
    for name, image in found.items():
        (folder / f"{name}.png").write_bytes(image)
    return {name: folder / f"{name}.png" for name in found}


def verify(*arguments):
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_the_distance_decides_at_the_calibrated_threshold(calibrated, photos) -> None:
    done = verify(photos["one"], photos["near"], "--model", calibrated)
    assert done.exit_code == 0, done.output
    assert done.stdout == (
        "the same: squared distance 0.5000, below the threshold 0.7500\n"
        "At this threshold 0.781 % (95% interval 0.391 % to 1.56 %) of the pairs of two classes "
        "count as the same, and 75 % of the pairs of one class.\n"
        "Measured on 5,120 and 400 pairs of the evaluation of this model, for a rate of 1 %.\n"
    )
    done = verify(photos["one"], photos["far"], "--model", calibrated)
    assert done.exit_code == 5
    assert done.stdout.startswith("not the same: squared distance 1.0000, not below the threshold")
    assert "  5  the two images do not show the same" in verify("--help").stdout


def test_json_says_the_same(calibrated, photos) -> None:
    done = verify(photos["one"], photos["far"], "--model", calibrated, "--json")
    values = json.loads(done.stdout)
    assert (values["same"], values["distance"], values["threshold"]) == (False, 1, 0.75)
    assert values["false_accept_rate_interval"] == [1 / 256, 1 / 64]


def test_a_distance_equal_to_the_threshold_is_not_below_it(calibrated, photos) -> None:
    for threshold, code in (("0.5", 5), ("0.501", 0)):
        done = verify(
            photos["one"], photos["near"], "--model", calibrated, "--threshold", threshold
        )
        assert done.exit_code == code
        assert "At this threshold" not in done.stdout


def test_without_a_threshold_it_says_how_to_get_one(version_folder, photos) -> None:
    done = verify(photos["one"], photos["near"], "--model", version_folder)
    with pytest.raises(VersionError, match=r"false_accept_rate.*Or give --threshold"):
        raise done.exception


def test_what_cannot_be_compared_is_named(calibrated, photos, tmp_path: Path) -> None:
    (tmp_path / "no.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"no\.png cannot be compared: neither JPEG"):
        raise verify(photos["one"], tmp_path / "no.png", "--model", calibrated).exception
    assert verify(photos["one"].parent, photos["one"], "--model", calibrated).exit_code == 2


def test_a_broken_operating_point_is_not_taken_for_none(model, tmp_path: Path) -> None:
    version = write_version(tmp_path / "3", model)
    write_operating_point(version)
    assert open_version(str(version)).operating_point.threshold == 0.75
    (version / "operating_point.json").write_text("{}")
    with pytest.raises(VersionError, match=r"operating_point\.json cannot be read"):
        open_version(str(version))


def test_equal_vectors_have_no_distance() -> None:
    vector = np.float32([0.6, 0.8])
    assert squared_distance(vector, vector) == 0
    assert squared_distance(np.float32([1, 0]), np.float32([0, 1])) == 2
