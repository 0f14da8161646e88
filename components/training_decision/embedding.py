"""Labels and embeddings of a split, by the model that is served."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf
from tfx import types
from tfx.types import artifact_utils
from tfx.utils import io_utils

from modules.contract import ID, IMAGE, LABEL
from modules.models import EMBED_BATCH
from modules.retrieval import Gallery, make_gallery
from modules.runtime import work_done
from modules.storage import feature_types, read_examples

_SIGNATURE, _EMBEDDING = "images", "embedding"


def read_labels(examples: Iterable[types.Artifact]) -> set[bytes]:
    """The classes of all splits."""
    files = [
        file
        for artifact in examples
        for split in artifact_utils.decode_split_names(artifact.split_names)
        for file in _files([artifact], split)
    ]
    found: set[bytes] = set()
    for batch in read_examples(files, [LABEL]) if files else ():
        found.update(batch[LABEL].numpy().tolist())
    return found


class Embedder:
    """A SavedModel as the Trainer of this project exports it.

    Args:
        path: Its folder.

    Raises:
        ValueError: It lacks the signature `images`.
    """

    def __init__(self, path: str) -> None:
        self._model = tf.saved_model.load(path)  # owns the variables of the signature
        if _SIGNATURE not in self._model.signatures:
            raise ValueError(
                f"TrainingDecision: the model {path} has the signatures "
                f"{', '.join(sorted(self._model.signatures))}, but {_SIGNATURE!r} is needed (encoded "
                "images to `embedding`). Remove [retraining] tolerated_drop, and the next run makes "
                "a model that has it."
            )
        self._embed = self._model.signatures[_SIGNATURE]

    def gallery(
        self, examples: Sequence[types.Artifact], split: str, columns: Sequence[str] = ()
    ) -> Gallery | None:
        """Embeds the images of a split.

        Args:
            examples: Artifacts; those without the split are passed over.
            split: Its name.
            columns: Features that make groups, see `modules.retrieval.groups`.

        Returns:
            See `make_gallery`; None without images.

        Raises:
            ValueError: An id occurs twice.
        """
        rows: dict[str, list[object]] = {name: [] for name in (ID, LABEL, *columns)}
        embeddings: list[np.ndarray] = []
        for batch in _batches(_files(examples, split), [*rows, IMAGE]):
            for name, values in rows.items():
                values += batch[name].numpy().tolist()
            embeddings.append(self._embed(images=batch[IMAGE])[_EMBEDDING].numpy())
            work_done.add("images", len(embeddings[-1]))
        if not embeddings:
            return None
        ids, labels, *groups = rows.values()
        return make_gallery(ids, labels, np.concatenate(embeddings), groups)  # type: ignore[arg-type]


def _batches(files: list[str], features: Sequence[str]) -> Iterator[dict[str, tf.Tensor]]:
    if files:
        types_of = feature_types(files)
        yield from read_examples(files, features, batch_size=EMBED_BATCH, types=types_of)


def _files(examples: Iterable[types.Artifact], split: str) -> list[str]:
    return [
        file
        for artifact in examples
        if split in artifact_utils.decode_split_names(artifact.split_names)
        for file in sorted(
            tf.io.gfile.glob(
                io_utils.all_files_pattern(artifact_utils.get_split_uri([artifact], split))
            )
        )
    ]
