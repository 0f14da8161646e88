"""Whether an artifact still has the files that its node wrote, by their names and sizes."""

from __future__ import annotations

import hashlib
import logging

import ml_metadata as mlmd
from ml_metadata.proto import metadata_store_pb2 as proto

from components.metadata import MADE, artifacts_by_id, find_events
from modules.storage import file_sizes

FILES = "files"  # custom property of an artifact
_BLESSING = "ModelBlessing"  # a rollback changes its files


def note_files(store: mlmd.MetadataStore, execution: proto.Execution) -> None:
    """Keeps with each artifact that an execution made which files it has.

    Args:
        store: The metadata store.
        execution: It has just ended: later nodes have the property in the keys of their cache.
    """
    events = find_events(store, MADE, executions=[execution.id])
    artifacts = list(artifacts_by_id(store, (event.artifact_id for event in events)).values())
    noted = []
    for artifact in artifacts:
        try:
            artifact.custom_properties[FILES].string_value = describe_files(artifact.uri)
        except Exception as error:  # of object stores too; the node itself is done
            logging.warning("The files of %s cannot be noted: %s", artifact.uri, error)
        else:
            noted.append(artifact)
    if noted:
        store.put_artifacts(noted)


def describe_files(uri: str) -> str:
    """Number and bytes of the files below a folder, and a hash of their names and sizes.

    Args:
        uri: Local, or one that TensorFlow reads.

    Returns:
        Such as `3 files, 1,024 bytes (9f86d081884c7d65)`.
    """
    from components.evaluator import REVOKED_FILE

    sizes = file_sizes(uri)
    sizes.pop(REVOKED_FILE, None)  # a rollback leaves it with the model
    text = "\0".join(f"{name}\0{size}" for name, size in sorted(sizes.items()))
    digest = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
    noun = "file" if len(sizes) == 1 else "files"
    return f"{len(sizes)} {noun}, {sum(sizes.values()):,} bytes ({digest})"


def files_fault(kind: str, uri: str, noted: str) -> str | None:
    """Compares an artifact with what was noted when it was made.

    Args:
        kind: Name of its type.
        uri: Its folder.
        noted: Its property `FILES`; empty for one of an older version of this project.

    Returns:
        What is wrong, as a sentence; None if nothing is, or if nobody can tell.

    Raises:
        OSError: The files cannot be looked at.
    """
    if not noted or kind == _BLESSING:
        return None
    try:
        found = describe_files(uri)
    except FileNotFoundError:
        found = "a link to nothing"
    if found == noted:
        return None
    return f"{uri} has changed since it was written: it had {noted}, and now has {found}."
