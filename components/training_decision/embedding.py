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

_LABELLED = ("train", "eval")
_SIGNATURE, _EMBEDDING = "images", "embedding"


def read_labels(examples: Iterable[types.Artifact]) -> set[bytes]:
    """The classes of the splits `train` and `eval`; other splits are only searched in."""
    artifacts = list(examples)
    files = [file for split in _LABELLED for file in _files(artifacts, split)]
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
                f"{', '.join(sorted(self._model.signatures))}, but {_SIGNATURE!r} is needed "
                "(encoded images to `embedding`). Remove [retraining] tolerated_drop, and the next "
                "run makes a model that has it."
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
        return self._embed_files(_files(examples, split), columns)

    def of_folders(self, folders: Sequence[str]) -> Gallery | None:
        """The same of all files in some folders, such as `…/Split-train`."""
        return self._embed_files([file for folder in folders for file in _in(folder)], ())

    def _embed_files(self, files: list[str], columns: Sequence[str]) -> Gallery | None:
        rows: dict[str, list[object]] = {name: [] for name in (ID, LABEL, *columns)}
        embeddings: list[np.ndarray] = []
        for batch in _batches(files, [*rows, IMAGE]):
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
        for file in _in(artifact_utils.get_split_uri([artifact], split))
    ]


def _in(folder: str) -> list[str]:
    return sorted(tf.io.gfile.glob(io_utils.all_files_pattern(folder)))
