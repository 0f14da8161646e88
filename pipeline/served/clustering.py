"""Groups of images that nobody has labelled, by their embeddings."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from modules.runtime import shown
from pipeline.runtime import ConfigError
from pipeline.served.image_files import read_in_batches
from pipeline.served.version import ServedVersion

Method = Literal["hdbscan", "agglomerative"]
MOST_AGGLOMERATIVE = 20_000  # images: all distances between them are in memory, 1.6 GB


@dataclasses.dataclass(frozen=True)
class Group:
    """Images that belong together.

    Attributes:
        images: Paths, those nearest to the middle of the group first.
        spread: Mean squared distance to the middle.
    """

    images: list[str]
    spread: float


@dataclasses.dataclass(frozen=True)
class Clusters:
    """What came of the images.

    Attributes:
        groups: The largest first; of equal ones that with the first image.
        alone: Paths of images in no group.
        faults: Reason by path, of images that could not be used.
    """

    groups: list[Group]
    alone: list[str]
    faults: dict[str, str]


def embed_paths(
    version: ServedVersion, paths: Sequence[str]
) -> tuple[np.ndarray, list[str], dict[str, str]]:
    """Embeds image files.

    Returns:
        Vectors, float32 [G, D]; the path of each; and faults by path of the others.
    """
    vectors: list[np.ndarray] = []
    good: list[str] = []
    faults: dict[str, str] = {}
    for files in read_in_batches(paths):
        faults |= {file.path: file.fault for file in files if file.fault}
        readable = [file for file in files if not file.fault]
        embedded = version.embed([file.content for file in readable])
        faults |= {readable[row].path: fault for row, fault in embedded.faults.items()}
        if len(embedded.rows):
            vectors.append(embedded.vectors)
            good += [readable[row].path for row in embedded.rows]
    return (np.concatenate(vectors) if vectors else np.empty((0, 0), np.float32)), good, faults


def group_vectors(
    vectors: np.ndarray,
    method: Method,
    *,
    least: int = 3,
    distance: float | None = None,
    number: int | None = None,
) -> np.ndarray:
    """Groups vectors.

    - `hdbscan` finds dense parts of any size and leaves out what lies between them (Campello,
      Moulavi and Sander, 2013).
    - `agglomerative` joins the two nearest groups again and again: while the mean squared distance
      between their images is below `distance`, or until there are `number` of them.

    Args:
        vectors: float32 [N, D].
        method: Which of the two.
        least: Of `hdbscan`, the images of the smallest group, 2 or more.
        distance: Of `agglomerative`, squared L2.
        number: Of `agglomerative`, in place of the distance.

    Returns:
        int64 [N]: the number of the group; −1 for none.

    Raises:
        ConfigError: There are too many images for `agglomerative`.
    """
    from sklearn.cluster import HDBSCAN, AgglomerativeClustering

    count = len(vectors)
    if method == "hdbscan":
        if count < least:
            return np.full(count, -1)
        found = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(vectors.astype(np.float64))
        return np.asarray(found, np.int64)
    if count > MOST_AGGLOMERATIVE:
        raise ConfigError(
            f"{count:,} images are too many to compare each with each: --method agglomerative "
            f"takes {MOST_AGGLOMERATIVE:,}. Use --method hdbscan, or fewer images."
        )
    if count < 2:
        return np.zeros(count, np.int64)
    of_number = min(number, count) if number is not None else None
    return np.asarray(
        AgglomerativeClustering(
            n_clusters=of_number,
            distance_threshold=distance if of_number is None else None,
            metric="sqeuclidean",
            linkage="average",
        ).fit_predict(vectors),
        np.int64,
    )


def make_clusters(
    vectors: np.ndarray, paths: Sequence[str], numbers: np.ndarray, faults: dict[str, str]
) -> Clusters:
    """Orders groups and their images.

    A group of one image is none.

    Args:
        vectors: float32 [N, D].
        paths: Of the images, N.
        numbers: int64 [N], as `group_vectors` gives them.
        faults: Of further images.
    """
    groups, alone = [], np.flatnonzero(numbers < 0).tolist()
    for number in np.unique(numbers[numbers >= 0]):
        rows = np.flatnonzero(numbers == number)
        if len(rows) == 1:
            alone += rows.tolist()
            continue
        away = np.square(vectors[rows] - vectors[rows].mean(axis=0)).sum(axis=1)
        nearest = rows[np.argsort(away, kind="stable")]
        groups.append((len(rows), rows[0], [paths[row] for row in nearest], float(away.mean())))
    groups.sort(key=lambda group: (-group[0], group[1]))
    return Clusters(
        [Group(images, spread) for _, _, images, spread in groups],
        [paths[row] for row in sorted(alone)],
        faults,
    )


def cluster_values(clusters: Clusters) -> dict[str, Any]:
    """What `cluster --json` prints of the groups."""
    return {
        "groups": [
            {"group": number, "spread": group.spread, "images": group.images}
            for number, group in enumerate(clusters.groups, start=1)
        ],
        "alone": clusters.alone,
        "left_out": [{"image": path, "fault": why} for path, why in clusters.faults.items()],
    }


def cluster_csv(clusters: Clusters) -> str:
    """A sheet with the columns `image` and `group`, which is empty for none."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", "group"])
    for number, group in enumerate(clusters.groups, start=1):
        writer.writerows([path, number] for path in group.images)
    writer.writerows([path, ""] for path in clusters.alone)
    return text.getvalue()


def cluster_rows(clusters: Clusters, most: int) -> Iterator[tuple[str, str, str, str]]:
    """The cells of the table: group, images, spread, the image in its middle."""
    for number, group in enumerate(clusters.groups[:most], start=1):
        yield str(number), f"{len(group.images):,}", f"{group.spread:.4f}", shown(group.images[0])
    rest = clusters.groups[most:]
    if rest:
        yield f"{len(rest):,} more", f"{sum(len(group.images) for group in rest):,}", "", ""
    if clusters.alone:
        yield "none", f"{len(clusters.alone):,}", "", ""
