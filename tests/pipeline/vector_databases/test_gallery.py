"""The gallery of a version is read in pieces, and refused where it is not of the model."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings, strategies as st

from pipeline.runtime import ConfigError
from pipeline.vector_databases import open_gallery
from pipeline.vector_databases.gallery import plain
from tests.pipeline.vector_databases.reading import make_version, rows_of


@pytest.fixture(scope="module")
def version(tmp_path_factory) -> str:
    """Row groups hold 20, 20 and 10 rows."""
    folder = make_version(tmp_path_factory.mktemp("versions") / "7", b"one", images=50)
    file = Path(folder, "index", "gallery.parquet")
    pq.write_table(pq.read_table(file), file, row_group_size=20)
    return folder


@settings(deadline=None)
@given(start=st.integers(0, 51), size=st.integers(1, 60))
def test_batches_are_the_rows_in_order(version: str, start: int, size: int) -> None:
    with open_gallery(version) as gallery:
        batches = list(gallery.batches(start, size))
    found = [
        (batch.first + i, *values)
        for batch in batches
        for i, values in enumerate(
            zip(batch.ids, batch.labels, batch.vectors.tolist(), strict=True)
        )
    ]
    assert found == rows_of(version)[start:]
    assert all(0 < len(batch.ids) <= size for batch in batches)


def test_a_remote_gallery_is_the_same(version: str) -> None:
    """By TensorFlow's file access."""
    with open_gallery(version) as here, open_gallery(f"file://{version}") as remote:
        assert (remote.digest, remote.version) == (here.digest, 7)
        (mine,), (theirs,) = ([*g.batches(45, 10)] for g in (here, remote))
        np.testing.assert_array_equal(mine.vectors, theirs.vectors)


def test_the_index_of_another_model_is_refused(version: str, tmp_path: Path) -> None:
    mixed = Path(make_version(tmp_path / "8", b"two", images=3))
    shutil.copytree(Path(version, "index"), mixed / "index", dirs_exist_ok=True)
    with pytest.raises(ConfigError, match="mixes two models"), open_gallery(str(mixed)):
        pass


def test_a_version_without_an_index_is_refused(version: str, tmp_path: Path) -> None:
    bare = shutil.copytree(version, tmp_path / "9")
    shutil.rmtree(bare / "index")
    with pytest.raises(ConfigError, match="no index"), open_gallery(str(bare)):
        pass
    with pytest.raises(ConfigError, match="no SavedModel"), open_gallery(str(tmp_path)):
        pass


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns("label"), "lacks label"),
        (lambda table: table.slice(1), "has 49 rows, but index.json says 50 images"),
        (
            lambda table: table.set_column(
                table.schema.get_field_index("vector"),
                "vector",
                pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(150, np.float32)), 3),
            ),
            r"\[3\], but index.json says 8 components",
        ),
    ],
)
def test_files_that_do_not_belong_together(version: str, tmp_path, change, message: str) -> None:
    other = shutil.copytree(version, tmp_path / "9")
    file = other / "index" / "gallery.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(ConfigError, match=message), open_gallery(str(other)):
        pass
    file.write_bytes(b"no Parquet")
    with pytest.raises(ConfigError, match="Parquet"), open_gallery(str(other)):
        pass


def test_a_vector_that_is_not_finite_is_refused(version: str, tmp_path: Path) -> None:
    other = shutil.copytree(version, tmp_path / "9")
    file = other / "index" / "gallery.parquet"
    table = pq.read_table(file)
    values = table["vector"].combine_chunks().flatten().to_numpy().copy()
    values[8 * 30 + 3] = np.nan
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values), 8)
    at = table.schema.get_field_index("vector")
    pq.write_table(table.set_column(at, "vector", vectors), file)
    with open_gallery(str(other)) as gallery, pytest.raises(ConfigError, match="Row 30 "):
        list(gallery.batches(0, 8))


def test_what_json_does_not_know_becomes_text() -> None:
    assert plain({"a": (1, True, 0.5, None)}) == {"a": [1, True, 0.5, None]}
    assert plain(datetime.date(2024, 2, 29)) == "2024-02-29"
    assert plain(float("-inf")) is None
    assert plain(b"a\0\xff") == r"a\x00\xff"
    assert plain(datetime.timedelta(seconds=1)) == "0:00:01"
