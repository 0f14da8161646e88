"""TFX's launcher, which takes from the cache only what is whole."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from tfx.orchestration.portable import launcher
from tfx.types import artifact_utils

from pipeline.metadata import FILES, files_fault


class CheckedLauncher(launcher.Launcher):
    """TFX looks whether the folder of a cached artifact is there, this one at its files too.

    If one is missing, or is shorter or longer than it was, the node runs again.
    """

    def _prepare_execution(self) -> Any:
        # Private names of TFX; tests/test_private_names.py notices when they change.
        with _whole_artifacts_only():
            return super()._prepare_execution()


@contextlib.contextmanager
def _whole_artifacts_only() -> Iterator[None]:
    """Adds the files to what TFX's cache asks of an artifact."""
    verify = artifact_utils.verify_artifacts
    said: set[str] = set()  # several executions may have the same artifact

    def verify_files(artifacts: Any) -> None:
        verify(artifacts)
        for artifact in (one for several in artifacts.values() for one in several):
            noted = artifact.get_string_custom_property(FILES)
            fault = files_fault(artifact.type_name, artifact.uri, noted)
            if fault and fault not in said:
                said.add(fault)
                logging.warning("%s It is not taken from the cache; its node runs again.", fault)
            if fault:
                raise RuntimeError(fault)

    artifact_utils.verify_artifacts = verify_files
    try:
        yield
    finally:
        artifact_utils.verify_artifacts = verify
