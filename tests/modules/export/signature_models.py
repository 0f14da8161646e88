"""A model as the Trainer exports it and as a push fills it, in a session as of a server."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from modules.export import EmbeddingModule
from modules.index import SIGNATURE_ASSETS, write_gallery_assets, write_threshold_asset
from modules.models import build_embedding_model
from modules.settings import ModelSettings
from tests.modules.export.test_saved_model import IMAGE, Standardise
from tests.modules.index.index_folders import write_flat_index
from tests.real_data import digits
from tests.serving_session import serving

ROWS = digits(2)
IMAGES = [image for image, _, _ in ROWS]
# The first image is there three times, so three distances are equal.
GALLERY = [*ROWS[:14], (ROWS[0][0], b"twin", b"a-twin"), (ROWS[0][0], b"twin", b"z-twin")]
THRESHOLD = 0.25


@pytest.fixture(scope="package")
def exported(tmp_path_factory) -> str:
    """What the Trainer writes."""
    path = str(tmp_path_factory.mktemp("exported") / "model")
    embedder = build_embedding_model(ModelSettings(embedding_size=8, batch_norm=True), IMAGE)
    EmbeddingModule(embedder, Standardise()).save(path)
    return path


@pytest.fixture(scope="package")
def bare(exported):
    with serving(exported) as session:
        yield session


@pytest.fixture(scope="package")
def gallery(bare) -> list[tuple[bytes, bytes, np.ndarray]]:
    """Id, label, vector, in the order of the ids."""
    vectors = bare.answer("images", images=[image for image, _, _ in GALLERY])["embedding"]
    return sorted(
        ((key, label, vector) for (_, label, key), vector in zip(GALLERY, vectors, strict=True)),
        key=lambda row: row[0],
    )


@pytest.fixture(scope="package")
def version(exported, gallery, tmp_path_factory) -> Path:
    """What a push makes of it."""
    folder = tmp_path_factory.mktemp("serving") / "7"
    shutil.copytree(exported, folder)
    ids, labels, vectors = zip(*gallery, strict=True)
    write_flat_index(folder, np.stack(vectors), ids=ids, labels=labels)
    written = write_gallery_assets(f"{folder}/index/gallery.parquet", str(folder))
    written |= write_threshold_asset(THRESHOLD, str(folder))
    assert written == {path: f"{folder}/{path}" for path in SIGNATURE_ASSETS}
    return folder


@pytest.fixture(scope="package")
def full(version):
    with serving(str(version)) as session:
        yield session
