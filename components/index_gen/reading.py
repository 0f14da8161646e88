"""Examples in, embedded rows out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import apache_beam as beam
import numpy as np
import tensorflow as tf

from components.index_gen.earlier import EarlierGallery, SharedEarlier, hash_image
from modules.contract import FEATURES, ID, IMAGE, IS_GALLERY, IS_QUERY, LABEL
from modules.images import small_jpeg
from modules.index import IMAGE_HASH, THUMBNAIL
from modules.models import SharedEmbedder, UnreadableImageError
from modules.retrieval import LabelledRows
from modules.runtime import work_done
from modules.storage import feature_types, without_autotune

KEPT = "row of the earlier gallery"  # not the name of a column: those of the data may have any
# Every call has so many images, filled up where they are fewer: see `embed_in_batches`.
EMBEDDED_AT_ONCE = 64
_READ = 256  # examples
_NEW, _ROWS = 256, 8192  # the first that is reached ends a piece


class Plan(NamedTuple):
    """What is done with each image.

    Attributes:
        columns: TensorFlow's types by name of the further columns.
        flagged: Whether the examples say which of them are in the gallery.
        thumbnails: Whether each keeps a small picture.
        background: The colour behind what is transparent in it.
    """

    columns: dict[str, tf.DType]
    flagged: bool
    thumbnails: bool
    background: str


def plan_columns(files: Sequence[str]) -> tuple[dict[str, tf.DType], bool]:
    """Looks at the first example for what there is besides the contract.

    Args:
        files: Of examples.

    Returns:
        Types of the further columns by name; whether there is the flag `is_gallery`.

    Raises:
        ValueError: A column has a name that the index needs for one of its own.
    """
    types = feature_types(files)
    columns = {
        name: kind
        for name, kind in sorted(types.items())
        if name not in (*FEATURES, IS_QUERY, IS_GALLERY)
    }
    if taken := sorted({"vector", THUMBNAIL, IMAGE_HASH} & columns.keys()):
        raise ValueError(
            f"IndexGen: the examples have the column {', '.join(taken)}, a name that the gallery "
            "of the index has for a column of its own. Rename it in the data."
        )
    return columns, IS_GALLERY in types


class EmbedFile(beam.DoFn):
    """Path of a file of examples → LabelledRows, without the images.

    Their features: the further columns, `image_hash`, perhaps `thumbnail`, and `KEPT`: the row of
    the earlier gallery that has the vector already, or −1. Such a row has zeros for a vector.
    """

    def __init__(self, plan: Plan, embedder: SharedEmbedder, earlier: SharedEarlier | None) -> None:
        self._plan, self._embedder, self._earlier = plan, embedder, earlier

    def setup(self) -> None:
        """Opens the earlier gallery."""
        self._known = self._earlier.acquire() if self._earlier else None

    def process(self, path: str) -> Iterator[LabelledRows]:
        """Embeds what is new, some hundred images at a time."""
        pieces: list[_Piece] = []
        for batch in _read(path, self._plan):
            pieces.append(_Piece(batch, self._known))
            if (
                sum(len(piece.new) for piece in pieces) >= _NEW
                or sum(len(piece.kept) for piece in pieces) >= _ROWS
            ):
                yield self._embed(pieces)
                pieces = []
        if pieces:
            yield self._embed(pieces)

    def _embed(self, pieces: list[_Piece]) -> LabelledRows:
        columns = {
            name: np.concatenate([piece.columns[name] for piece in pieces])
            for name in pieces[0].columns
        }
        kept = np.concatenate([piece.kept for piece in pieces])
        new = np.flatnonzero(kept < 0)
        images = [image for piece in pieces for image in piece.images]
        ids, labels = columns.pop(ID), columns.pop(LABEL)
        embedded = self._embed_images(images, ids[new]) if images else None
        dimension = self._known.dimension if self._known else 0
        embeddings = np.zeros(
            (len(ids), dimension if embedded is None else embedded.shape[1]), np.float32
        )
        if embedded is not None:
            embeddings[new] = embedded
        features = {**columns, KEPT: kept}
        if self._plan.thumbnails:
            features[THUMBNAIL] = np.full(len(ids), None, object)
            features[THUMBNAIL][new] = [small_jpeg(i, self._plan.background) for i in images]
        work_done.add("images", len(ids))
        return LabelledRows(ids, labels, {"": embeddings}, features)

    def _embed_images(self, images: list[bytes], ids: np.ndarray) -> np.ndarray:
        # Loaded only where something is new.
        model = self._embedder.acquire()
        try:
            embeddings = model(images, batch_size=EMBEDDED_AT_ONCE, filled=True)
        except UnreadableImageError as error:
            raise ValueError(
                f"IndexGen: the model cannot embed the image {_shown(ids[error.number])}: "
                f"{error.reason}. Repair or remove it."
            ) from error
        lengths = np.linalg.norm(embeddings, axis=1)
        wrong = np.flatnonzero(~(np.abs(lengths - 1) < 1e-3))  # NaN too
        if len(wrong):
            raise ValueError(
                f"IndexGen: the embedding of {_shown(ids[wrong[0]])} has the length "
                f"{lengths[wrong[0]]:g}, not 1 ({len(wrong)} of {len(ids)} here). Distances are of "
                "unit vectors: export the model with the trainer of this project."
            )
        return embeddings


class _Piece:
    """Some examples: all columns of each, and the images of those that are new."""

    def __init__(self, columns: dict[str, np.ndarray], known: EarlierGallery | None) -> None:
        images = columns.pop(IMAGE)
        self.columns = columns
        hashes = [hash_image(image) for image in images]
        columns[IMAGE_HASH] = np.array(hashes, object)
        self.kept = (
            known.rows_of(columns[ID].tolist(), hashes) if known else np.full(len(images), -1)
        )
        self.new = np.flatnonzero(self.kept < 0)
        self.images = images[self.new].tolist()


def _shown(example_id: bytes) -> str:
    return repr(example_id.decode(errors="replace"))


def _read(path: str, plan: Plan) -> Iterator[dict[str, np.ndarray]]:
    """Columns of some examples of the gallery at a time; None where a value is missing."""
    types = {**plan.columns, **({IS_GALLERY: tf.int64} if plan.flagged else {})}
    spec: dict[str, Any] = {name: tf.io.FixedLenFeature([], tf.string) for name in FEATURES}
    spec |= {name: tf.io.RaggedFeature(kind) for name, kind in types.items()}
    examples = without_autotune(
        tf.data.TFRecordDataset(path, "GZIP")
        .batch(_READ)
        .map(lambda serialized: tf.io.parse_example(serialized, spec))
        .prefetch(1)
    )
    for parsed in examples:
        columns = {name: parsed[name].numpy() for name in FEATURES}
        columns |= {name: _single(parsed[name]) for name in types}
        if plan.flagged:
            flags = columns.pop(IS_GALLERY)
            inside = np.array([flag is None or bool(flag) for flag in flags])
            columns = {name: values[inside] for name, values in columns.items()}
        if len(columns[ID]):
            yield columns


def _single(values: tf.RaggedTensor) -> np.ndarray:
    """The value of each example, None where there is none or more than one: object array [B]."""
    found = np.full(values.nrows(), None, object)
    lengths = values.row_lengths().numpy()
    one = np.flatnonzero(lengths == 1)
    flat, starts = values.flat_values.numpy(), values.row_starts().numpy()
    found[one] = flat[starts[one]].tolist()
    return found
