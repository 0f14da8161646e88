"""Pictures of an embedding: TensorBoard's projector and a t-SNE plot."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import tensorflow as tf
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from sklearn.manifold import TSNE
from tensorboard.plugins import projector
from threadpoolctl import threadpool_limits

from modules.images import png_of, thumbnail_of
from modules.runtime import best_effort, shown
from modules.storage import write_file

MAX_PROJECTED = 2000  # images; the browser holds them all
MAX_TSNE = 1000  # images; a few seconds
_TSNE_STEPS = 500
_THUMBNAIL = 64  # pixels; 45 × 45 of them are far below the 8,192 that TensorBoard can show
_LEGEND_CLASSES = 20
_LEGEND_NAME = 40  # characters
_PAPER = "white"


def write_pictures(
    log_dir: str,
    embeddings: np.ndarray,
    labels: Sequence[bytes] | np.ndarray,
    images: Sequence[bytes] | np.ndarray,
    ids: Sequence[bytes] | np.ndarray,
    seed: int,
    background: str = "white",
) -> None:
    """Writes the projector's files to `projector/` and, of 3 images or more, `tsne.png`.

    They are for people: what cannot be written is left out, with a warning.

    Args:
        log_dir: TensorBoard's folder of the training.
        embeddings: Finite float32 [N, D].
        labels: Class names, N of them.
        images: Encoded PNG or JPEG, N of them.
        ids: Unique names, N of them.
        seed: Of the t-SNE plot.
        background: The colour behind transparent images, as in `[image]`.
    """
    with best_effort("the files of TensorBoard's projector"):
        write_projector(f"{log_dir}/projector", embeddings, labels, images, ids, background)
    if len(embeddings) > 2:
        with best_effort("the t-SNE plot"):
            write_tsne(f"{log_dir}/tsne.png", embeddings, labels, seed)


def write_projector(
    log_dir: str,
    embeddings: np.ndarray,
    labels: Sequence[bytes] | np.ndarray,
    images: Sequence[bytes] | np.ndarray,
    ids: Sequence[bytes] | np.ndarray,
    background: str = "white",
) -> None:
    """Writes what TensorBoard's Projector tab shows: points, thumbnails, labels and ids.

    `tensorboard --logdir` finds it under `log_dir` or any folder above.

    Args:
        log_dir: Where to write, a folder of its own; made if missing.
        embeddings: Finite float32 [N, D]. The first 2,000 rows are taken.
        labels: Class names, N of them.
        images: Encoded PNG or JPEG, N of them; one that cannot be decoded is grey.
        ids: Unique names, N of them.
        background: The colour behind transparent images.

    Raises:
        ValueError: No rows, or the numbers of rows differ.
    """
    _check(embeddings, labels, images, ids)
    count = min(len(embeddings), MAX_PROJECTED)
    rows = ("\t".join(f"{value:.6g}" for value in row) for row in embeddings[:count].tolist())
    write_file(f"{log_dir}/embeddings.tsv", "\n".join(rows).encode())
    pairs = (f"{_field(label)}\t{_field(i)}" for label, i in zip(labels, ids, strict=True))
    write_file(f"{log_dir}/metadata.tsv", "\n".join(["label\tid", *pairs][: count + 1]).encode())
    write_file(f"{log_dir}/sprite.png", _sprite(images[:count], background))

    config = projector.ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = "embedding"
    embedding.tensor_path = "embeddings.tsv"
    embedding.metadata_path = "metadata.tsv"
    embedding.sprite.image_path = "sprite.png"
    embedding.sprite.single_image_dim.extend([_THUMBNAIL, _THUMBNAIL])
    projector.visualize_embeddings(log_dir, config)
    # An event file, empty but for its header, makes the folder a run: TensorBoard looks for the
    # projector's files in runs only.
    tf.summary.create_file_writer(log_dir).close()


def write_tsne(
    path: str, embeddings: np.ndarray, labels: Sequence[bytes] | np.ndarray, seed: int = 0
) -> np.ndarray:
    """Draws the embedding in two dimensions by t-SNE (van der Maaten and Hinton, 2008).

    Near points are near in the embedding. The sizes of groups and the distances between them mean
    nothing. There is a legend up to 20 classes.

    Args:
        path: The PNG to write; its folder is made if missing.
        embeddings: Finite float32 [N, D], N at least 3. The first 1,000 rows are taken.
        labels: Class names, N of them.
        seed: The same seed and input give the same picture.

    Returns:
        The points as drawn, float32 [N, 2].

    Raises:
        ValueError: Fewer than 3 rows, or the numbers of rows differ.
    """
    _check(embeddings, labels)
    embeddings = np.asarray(embeddings[:MAX_TSNE], np.float32)
    if len(embeddings) < 3:
        raise ValueError(f"t-SNE needs at least 3 images, there are {len(embeddings)}.")
    # The perplexity must be below the number of points; 30 is scikit-learn's default.
    perplexity = min(30.0, (len(embeddings) - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, random_state=seed, max_iter=_TSNE_STEPS)
    # Its result depends on the number of threads, and so small a problem is slower with several.
    with threadpool_limits(1):
        points = tsne.fit_transform(embeddings)
    write_file(
        path, _scatter(points, [shown(label, _LEGEND_NAME) for label in labels[: len(points)]])
    )
    return points


def _check(embeddings: np.ndarray, *columns: Sequence[bytes] | np.ndarray) -> None:
    lengths = [len(embeddings), *map(len, columns)]
    if len(set(lengths)) > 1 or not lengths[0]:
        raise ValueError(f"As many of everything are needed, at least one; there are {lengths}.")
    if not np.isfinite(embeddings).all():
        raise ValueError("The embeddings are not all finite; they cannot be drawn.")


def _field(value: bytes) -> str:
    """A value that keeps to its field in a tab-separated file."""
    return shown(b" ".join(value.split()))


def _sprite(images: Sequence[bytes] | np.ndarray, background: str) -> bytes:
    """All thumbnails in one square PNG, row by row."""
    side = math.ceil(math.sqrt(len(images)))
    sheet = Image.new("RGB", (side * _THUMBNAIL, side * _THUMBNAIL), _PAPER)
    for index, encoded in enumerate(images):
        row, column = divmod(index, side)
        thumbnail = thumbnail_of(encoded, _THUMBNAIL, background)
        sheet.paste(thumbnail, (column * _THUMBNAIL, row * _THUMBNAIL))
    return png_of(sheet)


def _scatter(points: np.ndarray, labels: list[str]) -> bytes:
    """Without pyplot, whose figures live in the process."""
    classes = sorted(set(labels))
    codes = np.searchsorted(classes, labels)
    colours = mpl.colormaps["tab20" if len(classes) <= _LEGEND_CLASSES else "hsv"]
    figure = Figure(figsize=(8, 8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    drawn = []
    for code in range(len(classes)):
        colour = colours(code if len(classes) <= _LEGEND_CLASSES else code / len(classes))
        x, y = points[codes == code].T
        drawn.append(axes.scatter(x, y, s=12, color=colour))
    if len(classes) <= _LEGEND_CLASSES:
        legend = axes.legend(drawn, classes, loc="best", markerscale=2, fontsize="small")
        for text in legend.get_texts():
            text.set_parse_math(False)  # a name is no formula
    axes.set_title(f"t-SNE of {len(points)} embeddings, {len(classes)} classes")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal")
    buffer = io.BytesIO()
    # Matplotlib would note its version; the picture should depend on the data only.
    figure.savefig(buffer, format="png", dpi=100, metadata={"Software": None})
    return buffer.getvalue()
