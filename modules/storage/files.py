"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import uuid
from collections.abc import Iterable


def write_file(path: str, content: bytes | Iterable[bytes], *, temp_dir: str | None = None) -> None:
    """Writes a file under a temporary name and renames it, so nobody ever reads half of it.

    Whoever writes the same file at the same time replaces it as a whole.

    Args:
        path: Local, or a URI that TensorFlow can write to. Missing folders are made.
        content: All bytes, or pieces of them in order.
        temp_dir: Existing folder for the unfinished file, on the same file system. Default: the
            folder of `path`.

    Raises:
        tf.errors.OpError: If the file cannot be written; the message names it.
    """
    import tensorflow as tf  # here, since the command line reads and writes files too

    folder, name = os.path.split(path)  # may be a URI
    if folder and not temp_dir:
        tf.io.gfile.makedirs(folder)
    unfinished = f"{temp_dir or folder or '.'}/{name}.{uuid.uuid4().hex}.tmp"
    try:
        with tf.io.gfile.GFile(unfinished, "wb") as file:
            for piece in (content,) if isinstance(content, bytes) else content:
                file.write(piece)
        tf.io.gfile.rename(unfinished, path, overwrite=True)
    except BaseException:
        with contextlib.suppress(tf.errors.OpError):  # the first error is the one to see
            tf.io.gfile.remove(unfinished)
        raise


def read_file(path: str) -> bytes:
    """Reads a whole file.

    Args:
        path: Local, or a URI that TensorFlow can read.

    Raises:
        tf.errors.NotFoundError: There is no such file.
    """
    import tensorflow as tf

    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
