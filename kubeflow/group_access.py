"""Folders on the volume that the next pod can write to, whichever user it runs as.

The image runs as any user of group 0. TensorFlow makes folders that only their user may write to,
whatever the umask says; so a pod opens up to the group what it has made.
"""

from __future__ import annotations

import json
import logging
import math
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfx.proto.orchestration import pipeline_pb2

UMASK = 0o002
_EXECUTIONS = 2  # NODE/OUTPUT/EXECUTION
_DESTINATION = "push_destination"  # of Pusher


def open_made(ir: pipeline_pb2.Pipeline, node: str, *, began: bool) -> None:
    """Lets the group write to what a node of a run has made.

    Args:
        ir: The compiled pipeline of the run.
        node: Id of the node.
        began: Whether an execution of it was at least begun. What comes from the cache makes
            nothing, and there may be thousands of executions to look at.
    """
    root = ir.runtime_spec.pipeline_root.field_value.string_value  # DIRECTORY/NAME/artifacts
    top = root.rsplit("/", 2)[0]
    open_to_group(f"{root}/{node}", top, depth=_EXECUTIONS if began else 0)
    for one in ir.nodes:
        parameters = one.pipeline_node.parameters.parameters
        if one.pipeline_node.node_info.id == node and _DESTINATION in parameters:
            pushed_to = json.loads(parameters[_DESTINATION].field_value.string_value)
            open_to_group(pushed_to["filesystem"]["base_directory"], top, depth=0)


def open_to_group(folder: str, top: str, depth: int = _EXECUTIONS) -> None:
    """Gives the group the rights of the user, in a folder and in those above it.

    What another user owns is left alone, and what the group may write to is not looked into below
    `depth`: an earlier pod has done so.

    Args:
        folder: A local folder, or a URI, which has no such rights. It may be missing.
        top: Folder of the volume; those above `folder` are opened up to here.
        depth: How many levels of folders to look at in any case.
    """
    if "://" in folder or not Path(folder).is_dir():
        return
    try:
        for above in Path(folder).parents:
            if not above.is_relative_to(top) or above == Path(top):
                break
            _open(above)
        _open(Path(folder))
        _open_below(folder, depth)
    except OSError as error:  # no reason to fail for this user
        logging.warning("The group cannot be given access to %s: %s", folder, error)


def _open_below(folder: str, depth: float) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_symlink():
                continue
            new = _open(Path(entry))
            if entry.is_dir() and (new or depth > 0):
                _open_below(entry.path, math.inf if new else depth - 1)


def _open(path: Path) -> bool:
    """Returns whether the group lacked a right that the user has."""
    known = path.stat()
    mode = stat.S_IMODE(known.st_mode)
    wanted = mode | (mode & stat.S_IRWXU) >> 3
    if wanted == mode or known.st_uid != os.geteuid():
        return False
    path.chmod(wanted)
    return True
