"""Files that TensorFlow opens, for readers that want Python's."""

from __future__ import annotations

import io
from typing import Any

import tensorflow as tf


class SeekableFile(io.RawIOBase):
    """A file to read, local or in an object store, as Python's and Arrow's readers want it.

    Args:
        path: Of the file.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._file = tf.io.gfile.GFile(path, "rb")

    def readable(self) -> bool:
        """It is read."""
        return True

    def seekable(self) -> bool:
        """It is read at any place."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills a buffer as far as the file goes; returns the number of bytes."""
        content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Goes to a place; returns it."""
        self._file.seek(offset, whence)
        return self.tell()

    def tell(self) -> int:
        """The place, in bytes from the start."""
        return int(self._file.tell())

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        if not self.closed:
            self._file.close()
        super().close()
