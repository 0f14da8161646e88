"""What identifies a model: the bytes of its files.

A model that a rollback serves again is the same model, and its index fits. One that was trained
anew is another, be it with the same data and settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from modules.storage import file_sizes, open_file

# What a version folder holds besides its model: names on its first level.
BESIDE_THE_MODEL = frozenset({"index", "model_card.md", "operating_point.json"})
_PIECE = 1 << 22  # bytes


def model_fingerprint(folder: str) -> str:
    """Hashes the files of a SavedModel.

    Their paths, sizes and bytes count, in the order of the paths. An index, an operating point and
    a model card beside the model do not, so the Trainer's output and a version folder of it have
    one fingerprint.

    Args:
        folder: Of a SavedModel: local, or a URI that TensorFlow reads.

    Returns:
        SHA-256 in hexadecimal digits.

    Raises:
        FileNotFoundError: There is no `saved_model.pb`.
        OSError: A file cannot be read.
    """
    files = {path: size for path, size in file_sizes(folder).items() if is_of_model(path)}
    if not {"saved_model.pb", "saved_model.pbtxt"} & files.keys():
        raise FileNotFoundError(f"{folder} holds no SavedModel: there is no saved_model.pb in it.")
    found = hashlib.sha256()
    for path in sorted(files):
        name = path.encode("utf-8", "surrogateescape")
        # The lengths come first, so that no bytes can move from one file to the next.
        found.update(f"{len(name)} {files[path]} ".encode() + name)
        for piece in _pieces(f"{folder.rstrip('/')}/{path}"):
            found.update(piece)
    return found.hexdigest()


def is_of_model(path: str) -> bool:
    """Whether a path below a version folder is a file of the model."""
    return path.split("/", 1)[0] not in BESIDE_THE_MODEL


def _pieces(path: str) -> Iterator[bytes]:
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            yield piece
