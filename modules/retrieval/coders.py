"""How rows with large arrays go from one Beam stage to the next.

Beam pickles what it does not know: each array is copied into the pickle, and the pickle into the
stream, and a counter of sizes pickles many elements once more. Here arrays stay outside the pickle
(protocol 5, PEP 574), are not copied when read, and the size is what the arrays take.
"""

from __future__ import annotations

import pickle
import struct
from typing import Any

import apache_beam as beam
import numpy as np

_ALIGNMENT = 16  # bytes: arrays are read where they stand


class ArraysCoder(beam.coders.Coder):
    """Encodes dataclasses and dicts that hold numpy arrays.

    Arrays that come out are read-only views of what was read. Object arrays are pickled.

    >>> coder = ArraysCoder()
    >>> coder.decode(coder.encode({"a": np.arange(3)}))
    {'a': array([0, 1, 2])}
    """

    def encode(self, value: Any) -> bytes:
        """The lengths of the parts, the pickle without its arrays, and the arrays."""
        arrays: list[pickle.PickleBuffer] = []
        head = pickle.dumps(value, protocol=5, buffer_callback=arrays.append)
        parts: list[Any] = [head, *(array.raw() for array in arrays)]
        lengths = [len(part) for part in parts]
        parts.insert(0, struct.pack(f"<{len(lengths) + 1}q", len(lengths), *lengths))
        padded = []
        for part in parts:
            padded += [part, bytes(-len(part) % _ALIGNMENT)]
        return b"".join(padded)

    def decode(self, encoded: bytes) -> Any:
        """The value, with arrays that are views of `encoded`."""
        (parts,) = struct.unpack_from("<q", encoded)
        lengths = struct.unpack_from(f"<{parts}q", encoded, 8)
        view, found = memoryview(encoded), []
        start = _behind(8 + 8 * parts)
        for length in lengths:
            found.append(view[start : start + length])
            start = _behind(start + length)
        return pickle.loads(found[0], buffers=found[1:])

    def estimate_size(self, value: Any) -> int:
        """The bytes of the arrays: encoding them only to count them is not worth it."""
        if isinstance(value, np.ndarray):
            return int(value.nbytes)
        if isinstance(value, dict):
            return sum(map(self.estimate_size, value.values()))
        return sum(map(self.estimate_size, getattr(value, "__dict__", {}).values()))

    def is_deterministic(self) -> bool:
        """No: these are no keys."""
        return False

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))


def _behind(position: int) -> int:
    return -(-position // _ALIGNMENT) * _ALIGNMENT
