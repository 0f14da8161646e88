"""One model and one version for all tests of a package, since saving takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.served import ServedVersion, open_version
from tests.pipeline.served.served_versions import write_model, write_operating_point, write_version


@pytest.fixture(scope="package")
def model(tmp_path_factory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "one")


@pytest.fixture(scope="package")
def version_folder(model, tmp_path_factory) -> Path:
    return write_version(tmp_path_factory.mktemp("serving") / "7", model)


@pytest.fixture(scope="package")
def calibrated(model, tmp_path_factory) -> Path:
    """A version with an operating point: distances of 0 and ½ are below its threshold."""
    folder = write_version(tmp_path_factory.mktemp("calibrated") / "8", model)
    write_operating_point(folder)
    return folder


@pytest.fixture(scope="package")
def version(version_folder) -> ServedVersion:
    return open_version(str(version_folder))
