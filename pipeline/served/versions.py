"""Which version of a model is used: the newest that was pushed, or a folder that is named."""

from __future__ import annotations

from modules.storage import list_names, path_exists
from pipeline.runtime import NotRunError, PipelineError

MODEL_FILE = "saved_model.pb"


class VersionError(PipelineError):
    """A version cannot be used: a file is missing or broken, or it mixes two models."""


def list_versions(base: str) -> list[str]:
    """Versions in a serving folder, oldest first.

    Those whose model is not there yet, as an object store shows them for a while, are none.

    Args:
        base: Local, or a URI. It need not exist.
    """
    numbers = sorted(int(name) for name in list_names(base) if name.isascii() and name.isdigit())
    folders = (f"{base.rstrip('/')}/{number}" for number in numbers)
    return [folder for folder in folders if path_exists(f"{folder}/{MODEL_FILE}")]


def newest_version(folder: str) -> str:
    """The version to use.

    Args:
        folder: Of one version, which is taken, or a serving folder, whose newest is.

    Raises:
        NotRunError: There is no version.
    """
    if path_exists(f"{folder.rstrip('/')}/{MODEL_FILE}"):
        return folder.rstrip("/")
    found = list_versions(folder)
    if not found:
        raise NotRunError(
            f"There is no model in {folder}: nothing was pushed to it yet. Run the pipeline until "
            "a model is blessed, or name the folder of a version by --model."
        )
    return found[-1]
