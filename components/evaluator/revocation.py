"""The mark of a model that was taken out of service.

The blessing in the metadata database says it to everything that looks for the last blessed model.
An Evaluator that judges the same model again, because a threshold or its baseline has changed,
does not see that blessing; a file in the model's folder tells it. It is a file, and not a property
of the artifact, because a changed artifact is a new input: the cache would be lost.
"""

from __future__ import annotations

from tfx.dsl.io import fileio
from tfx.utils import io_utils

REVOKED_FILE = "REVOKED"


def revoke(model_uri: str, reason: str) -> None:
    """Marks a model.

    Args:
        model_uri: Folder of the Model artifact; nothing happens when it is gone.
        reason: For whoever asks why it is not blessed.
    """
    if fileio.isdir(model_uri):
        io_utils.write_string_file(f"{model_uri}/{REVOKED_FILE}", reason)


def reinstate(model_uri: str) -> None:
    """Removes the mark, if there is one."""
    if fileio.exists(f"{model_uri}/{REVOKED_FILE}"):
        fileio.remove(f"{model_uri}/{REVOKED_FILE}")


def revocation(model_uri: str) -> str | None:
    """Why a model was revoked; None if it was not."""
    path = f"{model_uri}/{REVOKED_FILE}"
    return io_utils.read_string_file(path) if fileio.exists(path) else None
