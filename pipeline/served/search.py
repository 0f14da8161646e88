"""Finds the neighbours of images, and shows them: as a table, as JSON, as a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from modules.contract import ID, LABEL
from modules.runtime import shown
from pipeline.served.image_files import ImageFile, read_in_batches
from pipeline.served.version import Neighbour, ServedVersion, as_text


@dataclasses.dataclass(frozen=True)
class Found:
    """What the search for one image found.

    Attributes:
        image: The file.
        neighbours: Nearest first; none if there is a fault.
        fault: Why the image could not be used.
        label: Of the image, if it is one of the gallery.
    """

    image: ImageFile
    neighbours: list[Neighbour]
    fault: str | None = None
    label: str | None = None


def search_images(
    version: ServedVersion, paths: Sequence[str], k: int, keep: int = 0
) -> Iterator[Found]:
    """Finds the neighbours of each image, in the order of the paths.

    Args:
        version: With an index.
        paths: Of image files.
        k: The most neighbours of an image.
        keep: Of so many images, the first ones, the content is kept.

    Raises:
        VersionError: There is no index.
    """
    version.require_index()
    done = 0
    for files in read_in_batches(paths):
        readable = [number for number, file in enumerate(files) if file.fault is None]
        embedded = version.embed([files[number].content for number in readable])
        faults = {number: file.fault for number, file in enumerate(files) if file.fault}
        faults |= {readable[row]: fault for row, fault in embedded.faults.items()}
        good = [readable[row] for row in embedded.rows]
        neighbours = version.search(embedded.vectors, k) if good else []
        found = dict(zip(good, neighbours, strict=True))
        for number, file in enumerate(files):
            kept = file if done < keep else file._replace(content=b"")
            done += 1
            yield Found(kept, found.get(number, []), faults.get(number))


def search_sample(version: ServedVersion, number: int, k: int) -> list[Found]:
    """Finds the neighbours of some images of the gallery, each left out of its own.

    Args:
        version: With an index.
        number: How many images, the same ones each time.
        k: The most neighbours of an image.

    Raises:
        VersionError: There is no index.
    """
    index = version.require_index()
    generator = np.random.default_rng(0)
    rows = np.sort(generator.choice(len(index), min(number, len(index)), replace=False))
    found = version.search(index.vectors(rows), k + 1)
    return [
        Found(
            ImageFile(as_text(values[ID]), picture or b""),
            [neighbour for neighbour in neighbours if neighbour.row != row][:k],
            label=as_text(values[LABEL]),
        )
        for row, values, picture, neighbours in zip(
            rows, index.rows(rows), index.thumbnails(rows), found, strict=True
        )
    ]


def search_values(version: ServedVersion, found: Sequence[Found]) -> dict[str, Any]:
    """What `search --json` prints."""
    index = version.require_index().description
    return {
        "version": version.name,
        "model": version.model,
        "distance": index.distance,
        "gallery": {"images": index.images, "kind": index.kind, "recall": index.recall},
        "results": [
            {"image": one.image.path, "fault": one.fault}
            if one.fault
            else {
                "image": one.image.path,
                "neighbours": [neighbour_values(neighbour) for neighbour in one.neighbours],
            }
            for one in found
        ],
    }


def neighbour_values(neighbour: Neighbour) -> dict[str, Any]:
    """A neighbour as JSON has it."""
    return {
        "id": neighbour.id,
        "label": neighbour.label,
        "distance": neighbour.distance,
        **({"further": neighbour.further} if neighbour.further else {}),
    }


def search_rows(one: Found) -> Iterator[tuple[str, str, str, str, str]]:
    """The cells of the table: image, rank, label, distance, id; the image in its first row only."""
    name = shown(one.image.path)
    for rank, neighbour in enumerate(one.neighbours, start=1):
        label = "" if neighbour.label is None else shown(neighbour.label)
        yield name, str(rank), label, f"{neighbour.distance:.4f}", shown(neighbour.id)
        name = ""
