"""Parts of a gallery: any rows come back as they were, whatever else lies in the folder."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from hypothesis import given, settings, strategies as st

from components.index_gen import parts
from components.index_gen.parts import WriteParts, read_places
from components.index_gen.reading import KEPT, Plan
from modules.retrieval import LabelledRows, concatenate
from tests.components.index_gen.index_node import contents, make, model_artifact
from tests.real_data import digits, examples_artifact

PLAN = Plan({"price": tf.float32, "year": tf.int64}, False, True, "white")
ROWS = 40


def drawn_rows() -> LabelledRows:
    """In no order; labels, pictures and further columns are missing here and there."""
    random = np.random.default_rng(0)

    def some(values: list) -> np.ndarray:
        kept = random.random(ROWS) < 0.7
        return np.array([v if k else None for v, k in zip(values, kept, strict=True)], object)

    numbers = random.permutation(ROWS).tolist()
    features = {
        "price": some([n / 4 for n in numbers]),
        "year": some([2000 + n for n in numbers]),
        "image_hash": np.array([f"hash {n}" for n in numbers], object),
        "thumbnail": some([b"jpeg %d" % n for n in numbers]),
        KEPT: random.integers(-1, 9, ROWS),
    }
    labels = np.array([label or b"" for label in some([b"c%d" % (n % 3) for n in numbers])], object)
    ids = np.array([b"%02d" % n for n in numbers], object)
    return LabelledRows(ids, labels, {"": random.random((ROWS, 3)).astype(np.float32)}, features)


ALL = drawn_rows()


def store(rows: LabelledRows, cuts: list[int], folder: Path | str) -> list[LabelledRows]:
    """One bundle."""
    write = WriteParts(PLAN, str(folder))
    write.start_bundle()
    bounds = [0, *sorted(cuts), len(rows.ids)]
    batches = [rows.take(slice(*pair)) for pair in itertools.pairwise(bounds)]
    stored = [piece for batch in batches for piece in write.process(batch)]
    return stored + [last.value for last in write.finish_bundle()]


def expected(row: int) -> dict[str, object]:
    values = {name: column[row] for name, column in ALL.features.items()}
    return {"label": ALL.labels[row] or None, "vector": ALL.embeddings[""][row].tolist(), **values}


def check(found: pa.Table, ids: list[bytes]) -> None:
    assert found.to_pylist() == [expected(ALL.ids.tolist().index(one)) for one in ids]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(1, ROWS - 1), max_size=5, unique=True),
    st.integers(1, ROWS + 1),
    st.integers(1, ROWS + 1),
    st.sets(st.integers(0, ROWS), min_size=2, max_size=2).map(sorted),
)
def test_any_range_of_ids_comes_back(tmp_path_factory, cuts, part_rows, together, ends) -> None:
    folder = tmp_path_factory.mktemp("parts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "PART_ROWS", part_rows)
        patch.setattr(parts, "_TOGETHER", together)
        stored = store(ALL, cuts, folder)
        assert all(len(rows.ids) >= part_rows for rows in stored[:-1])
        assert len(list(folder.iterdir())) == len(stored)
        whole = concatenate(stored)
        assert (set(whole.labels), whole.features) == ({b""}, {})
        ordered = whole.take(np.argsort(whole.ids)[slice(*ends)])
        check(read_places(str(folder), ordered.embeddings[""]), sorted(ALL.ids)[slice(*ends)])


def test_what_an_earlier_attempt_left_plays_no_part(tmp_path: Path) -> None:
    first = concatenate(store(ALL, [9], tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    again = concatenate(store(ALL.take(slice(20, None)), [3], tmp_path))
    (tmp_path / "half.arrow").write_bytes(b"ARROW1")
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    for rows in (first, again):
        ordered = rows.take(np.argsort(rows.ids))
        check(read_places(str(tmp_path), ordered.embeddings[""]), ordered.ids.tolist())


def test_files_that_only_tensorflow_reaches() -> None:
    whole = concatenate(store(ALL, [], "ram://parts"))
    check(read_places("ram://parts", whole.embeddings[""][5:9]), sorted(ALL.ids)[5:9])


@pytest.mark.slow
def test_the_same_bytes_on_two_worker_processes(tmp_path: Path) -> None:
    examples = examples_artifact(tmp_path / "examples", {"train": digits(10)}, shards=4)
    model = model_artifact(tmp_path / "model")
    one = make(tmp_path / "one", examples, model)
    workers = ["--direct_num_workers=2", "--direct_running_mode=multi_processing"]
    two = make(tmp_path / "two", examples, model, beam_args=workers)
    assert contents(one) == contents(two)
    assert set(contents(one)) == {"gallery.parquet", "index.json", "vectors.faiss"}


def test_nothing_is_left_where_a_part_cannot_be_written(tmp_path: Path, monkeypatch) -> None:
    """The disk is full behind the first part."""
    written = []

    def write(path: str, content: bytes) -> None:
        if written:
            raise OSError("No space left on device")
        written.append(path)
        Path(path).write_bytes(content)

    monkeypatch.setattr(parts, "write_file", write)
    monkeypatch.setattr(parts, "PART_ROWS", 8)
    examples = examples_artifact(tmp_path / "examples", {"train": digits(30)}, shards=2)
    with pytest.raises(Exception, match="No space left"):
        make(tmp_path / "index", examples, model_artifact(tmp_path / "model"))
    assert written
    assert not list((tmp_path / "index").iterdir())
