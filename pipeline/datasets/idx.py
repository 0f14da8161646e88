"""Reads IDX files, the format in which MNIST and its relatives are published.

Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits". An IDX file is
a big-endian header (two zero bytes, the type code 0x08 for unsigned bytes, the number of
dimensions, then one 32-bit size per dimension) followed by the values in C order.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

# The official names of the images and the labels of each split.
FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "eval": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_UNSIGNED_BYTE = 0x08


class IdxError(ValueError):
    """A file that is missing, damaged or not what its name promises."""


def read_idx(path: Path, dimensions: int, md5: str | None = None) -> npt.NDArray[np.uint8]:
    """Reads one IDX file of unsigned bytes.

    Args:
        path: The file; gzip-compressed when its name ends in `.gz`.
        dimensions: Number of dimensions it must have (3 for images, 1 for labels).
        md5: Hex MD5 the file as stored must have; None: not checked.

    Returns:
        uint8 [n, height, width] for images, uint8 [n] for labels.

    Raises:
        IdxError: Wrong checksum, broken gzip, wrong header or wrong length.
    """
    content = path.read_bytes()
    if md5 is not None:
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise IdxError(
                f"{path}: MD5 {found}, expected {md5}: the file is damaged or not the published "
                "one. Fetch it again, or use the source `idx`, which checks no checksum."
            )
    if path.suffix == ".gz":
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise IdxError(f"{path}: not a complete gzip file ({error}).") from error

    expected = bytes((0, 0, _UNSIGNED_BYTE, dimensions))
    if content[:4] != expected:
        raise IdxError(
            f"{path}: starts with the bytes {content[:4].hex(' ') or '(none)'}, expected "
            f"{expected.hex(' ')} (unsigned bytes, {dimensions} dimensions)."
        )
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise IdxError(f"{path}: {len(content)} bytes long, expected a header of {header} bytes.")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise IdxError(
            f"{path}: {len(content) - header} bytes of values, expected {math.prod(shape)} for "
            f"the shape {list(shape)} in its header."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def read_split(
    folder: Path, split: str, md5: Mapping[str, str] | None = None
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Reads the images and the labels of one split under their official names.

    Args:
        folder: Holds the four files, each as published (`.gz`) or unpacked (no suffix).
        split: `train` (files `train-*`) or `eval` (files `t10k-*`).
        md5: Published MD5 by official name, of the `.gz` files; an unpacked file has none.

    Returns:
        Images, uint8 [n, height, width], and labels, uint8 [n].

    Raises:
        IdxError: As `read_idx`; a missing file; images and labels of different number.
    """
    paths, arrays = [], []
    for name, dimensions in zip(FILES[split], (3, 1), strict=True):
        path = next((p for p in (folder / f"{name}.gz", folder / name) if p.is_file()), None)
        if path is None:
            raise IdxError(f"{folder}: neither {name}.gz nor {name} is there.")
        checksum = md5.get(name) if md5 and path.suffix == ".gz" else None
        paths.append(path)
        arrays.append(read_idx(path, dimensions, checksum))
    images, labels = arrays
    if len(images) != len(labels):
        raise IdxError(
            f"{paths[0]} holds {len(images)} images, {paths[1]} {len(labels)} labels; "
            "expected the same number."
        )
    return images, labels
