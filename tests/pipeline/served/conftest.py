"""The model and the version of these tests."""

from tests.pipeline.served.fixtures import model, version, version_folder

__all__ = ["model", "version", "version_folder"]
