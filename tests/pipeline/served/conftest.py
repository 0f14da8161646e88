"""The model and the version of these tests."""

from tests.pipeline.served.fixtures import calibrated, model, version, version_folder

__all__ = ["calibrated", "model", "version", "version_folder"]
