"""Arrays that cross Beam's stages: the same values, without a copy."""

from __future__ import annotations

import numpy as np
import pytest

from modules.retrieval.coders import ArraysCoder
from modules.retrieval.rows import LabelledRows

WHOLE = np.arange(24, dtype=np.float32).reshape(4, 6)


@pytest.mark.parametrize(
    "values",
    [WHOLE, WHOLE[1:3], WHOLE[:, ::2], WHOLE.T, WHOLE[:0], WHOLE.astype(np.int64), np.array(b"x")],
    ids=["whole", "rows", "every other column", "turned", "empty", "int64", "scalar"],
)
def test_rows_come_out_as_they_went_in(values: np.ndarray) -> None:
    names = np.array([b"one", "two", None], object)
    rows = LabelledRows(names, names[:1], {"a": values, "b": WHOLE}, {"other": names})
    coder = ArraysCoder()
    found = coder.decode(coder.encode(rows))
    assert found.ids.tolist() == found.features["other"].tolist() == [b"one", "two", None]
    assert found.labels.tolist() == [b"one"]
    np.testing.assert_array_equal(found.embeddings["a"], values)
    np.testing.assert_array_equal(found.embeddings["b"], WHOLE)
    assert found.embeddings["a"].dtype == values.dtype


def test_arrays_are_read_where_they_stand() -> None:
    encoded = ArraysCoder().encode({"first": np.ones(3, np.int8), "second": WHOLE})
    found = ArraysCoder().decode(encoded)
    stored = np.frombuffer(encoded, np.uint8)
    assert np.shares_memory(stored, found["second"])
    assert found["second"].flags.aligned
    with pytest.raises(ValueError, match="read-only"):
        found["second"][0] = 0


def test_the_size_is_that_of_the_arrays() -> None:
    rows = LabelledRows(np.array([b"a", b"b"], object), np.array([b"x", b"x"], object),
                        {"": np.zeros((2, 128), np.float32)})  # fmt: skip
    # Two columns of pointers, 8 bytes each, and 2 × 128 values of 4 bytes.
    assert ArraysCoder().estimate_size(rows) == 2 * 2 * 8 + 2 * 128 * 4
