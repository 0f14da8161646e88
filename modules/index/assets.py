"""What the signatures `nearest` and `match` of a model read: files in its folder `assets`.

The Trainer writes empty ones, since gallery and threshold are known after it. A push puts the real
ones in their place. So the graph and the weights of a version are byte for byte those of the
Trainer, and the model keeps its fingerprint.

| file                     | holds, as a serialized TensorProto                     |
|--------------------------|--------------------------------------------------------|
| `assets/gallery_ids`     | string [G]                                             |
| `assets/gallery_labels`  | string [G]; empty where an image has no label          |
| `assets/gallery_vectors` | float32 [G, D]                                         |
| `assets/threshold`       | float32 [1], or [0] without an operating point         |
"""

from __future__ import annotations

import numpy as np

from modules.contract import ID, LABEL
from modules.storage import path_exists

GALLERY_IDS, GALLERY_LABELS = "gallery_ids", "gallery_labels"
GALLERY_VECTORS, THRESHOLD = "gallery_vectors", "threshold"
_FOLDER = "assets"
# Their places in the folder of a SavedModel.
SIGNATURE_ASSETS = tuple(
    f"{_FOLDER}/{name}" for name in (GALLERY_IDS, GALLERY_LABELS, GALLERY_VECTORS, THRESHOLD)
)


def write_empty_assets(folder: str) -> None:
    """Writes the files of a model without gallery and threshold, by their names, for its export.

    Args:
        folder: Local, it exists; they lie in it and not in `assets`.
    """
    _write(folder, _gallery([], [], np.zeros([0, 0], np.float32)))
    _write(folder, {THRESHOLD: np.zeros([0], np.float32)})


def takes_assets(model: str) -> bool:
    """Whether a SavedModel has the two signatures; one of an earlier Trainer has not."""
    return all(path_exists(f"{model}/{path}") for path in SIGNATURE_ASSETS)


def write_gallery_assets(gallery: str, model: str) -> dict[str, str]:
    """Gives the signature `nearest` of a model the gallery to search in.

    Args:
        gallery: Path of `gallery.parquet`. It is read as a whole.
        model: Folder of the SavedModel, whose files are replaced.

    Returns:
        What was written: place in the folder of a model → path.
    """
    import pyarrow.parquet as pq

    from modules.storage import SeekableFile  # with TensorFlow, which takes seconds

    with SeekableFile(gallery) as file:
        rows = pq.read_table(file, columns=[ID, LABEL, "vector"])
    vectors = rows["vector"].combine_chunks()
    numbers = np.asarray(vectors.flatten()).reshape(len(rows), vectors.type.list_size)
    labels = [label or b"" for label in rows[LABEL].to_pylist()]
    return _write(f"{model}/{_FOLDER}", _gallery(rows[ID].to_pylist(), labels, numbers))


def write_threshold_asset(threshold: float, model: str) -> dict[str, str]:
    """Gives the signature `match` of a model its threshold; as `write_gallery_assets` otherwise."""
    return _write(f"{model}/{_FOLDER}", {THRESHOLD: np.array([threshold], np.float32)})


def _gallery(ids: list[bytes], labels: list[bytes], vectors: np.ndarray) -> dict[str, np.ndarray]:
    texts = {GALLERY_IDS: ids, GALLERY_LABELS: labels}
    arrays = {name: np.array(values, dtype=object) for name, values in texts.items()}
    return {**arrays, GALLERY_VECTORS: vectors}


def _write(folder: str, arrays: dict[str, np.ndarray]) -> dict[str, str]:
    import tensorflow as tf

    for name, array in arrays.items():
        dtype = tf.float32 if array.dtype == np.float32 else tf.string
        content = tf.io.serialize_tensor(tf.constant(array, dtype)).numpy()
        with tf.io.gfile.GFile(f"{folder}/{name}", "wb") as file:
            file.write(content)
    return {f"{_FOLDER}/{name}": f"{folder}/{name}" for name in arrays}
