"""Whether a model and an index are one."""

from __future__ import annotations

import contextlib

from modules.index.description import IndexDescription, IndexMismatchError, NoIndexError
from modules.index.fingerprint import model_fingerprint
from modules.index.layout import has_index, index_folder, read_description
from modules.storage import list_names, path_exists


def check_same_model(version_folder: str) -> IndexDescription:
    """Makes sure that the index of a version was made by the model beside it.

    Distances between vectors of two models mean nothing, and nothing in them tells.

    Args:
        version_folder: With a SavedModel and `index/`.

    Returns:
        The description of the index.

    Raises:
        FileNotFoundError: There is no model.
        NoIndexError: There is no index.
        IndexFileError: Its description cannot be read.
        IndexMismatchError: It was made by another model. The message says which versions beside
            this one have the model and the index that would fit.
    """
    model = model_fingerprint(version_folder)
    if not has_index(version_folder):
        raise NoIndexError(
            f"{version_folder} has a model and no index to search. Pushes write one where the "
            "table [index] of the configuration asks for it; run the pipeline again with it."
        )
    description = read_description(index_folder(version_folder))
    if description.model != model:
        raise IndexMismatchError(_message(version_folder, model, description.model))
    return description


def _message(version_folder: str, model: str, made_by: str) -> str:
    base, _, name = version_folder.rstrip("/").rpartition("/")
    models: dict[str, str] = {}
    indexes: dict[str, str] = {}
    for version in list_names(base):
        folder = f"{base}/{version}"
        if not version.isdigit() or version == name or not path_exists(f"{folder}/saved_model.pb"):
            continue
        models.setdefault(model_fingerprint(folder), version)
        with contextlib.suppress(OSError, ValueError):  # its own fault, not of this version
            indexes.setdefault(read_description(index_folder(folder)).model, version)
    its_index = (
        f"The index of this model is in version {indexes[model]}"
        if model in indexes
        else "No version beside it has an index of this model"
    )
    its_model = (
        f"the model of this index is in version {models[made_by]}"
        if made_by in models
        else "and none has the model of this index"
    )
    return (
        f"{version_folder} mixes two models: its index was made by model {made_by[:12]}, and the "
        f"model beside it is {model[:12]}. Their distances mean nothing. {its_index}, {its_model}. "
        "Serve a version as the Pusher wrote it, or push the model again."
    )
