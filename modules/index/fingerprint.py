"""What identifies a model: the bytes of its files.

A model that a rollback serves again is the same model, and its index fits. One that was trained
anew is another, be it with the same data and settings.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from modules.index.assets import SIGNATURE_ASSETS
from modules.storage import CHECKSUMS_FILE, file_sizes, open_file

# What a version folder holds besides its model: names on its first level, and files that a push
# fills for the model's signatures.
BESIDE_THE_MODEL = frozenset(
    {
        "index",
        "model_card.md",
        "operating_point.json",
        "compatibility",
        CHECKSUMS_FILE,
        *SIGNATURE_ASSETS,
    }
)
_PIECE = 1 << 22  # bytes


def model_fingerprint(folder: str) -> str:
    """Hashes the files of a SavedModel.

    Their paths, sizes and bytes count, in the order of the paths. What a push puts beside the model
    does not: the index, the operating point, the card, the map, and the files that hold some of it
    for the signatures. So the Trainer's output and a version folder of it have one fingerprint.

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
    return not {path, path.split("/", 1)[0]} & BESIDE_THE_MODEL


def _pieces(path: str) -> Iterator[bytes]:
    with open_file(path) as file:
        while piece := file.read(_PIECE):
            yield piece
