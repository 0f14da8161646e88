"""Text files on this machine and in object stores."""

from __future__ import annotations

from pathlib import Path


def read_text(path: str) -> str:
    """Reads a text file.

    Args:
        path: A local path, read without TensorFlow, or a URI such as `gs://bucket/file`.

    Raises:
        OSError: It cannot be read; FileNotFoundError if there is none.
    """
    if "://" not in path:
        return Path(path).read_text(encoding="utf-8")
    import tensorflow as tf  # takes seconds to load

    try:
        with tf.io.gfile.GFile(path) as file:
            return str(file.read())
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist") from error
    except tf.errors.OpError as error:
        raise OSError(f"{path} cannot be read: {error.message}") from error
