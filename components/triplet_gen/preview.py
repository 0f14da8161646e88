"""A picture of some triplets, for people to look at."""

from __future__ import annotations

import itertools

import tensorflow as tf
from PIL import Image, ImageDraw

from modules.contract import IMAGE, LABEL, NEGATIVES, POSITIVES, ROLES
from modules.images import png_of, thumbnail_of
from modules.runtime import shown
from modules.storage import write_file

_SIZE, _CAPTION, _GAP = 96, 16, 8
_CAPTION_LENGTH = 13  # characters, about as wide as an image
_PAPER, _INK = "white", "black"

_Pair = tuple[bytes, bytes]  # encoded image and label


def write_preview(file: str, path: str, rows: int = 8, background: str = "white") -> None:
    """Draws the first triplet of the first anchors, one per row: anchor, positive, negative.

    Args:
        file: Path of a file of the train part.
        path: PNG to write.
        rows: The most triplets to draw.
        background: The colour behind transparent images.
    """
    triplets = _first_triplets(file, rows)
    width, height = _SIZE + _GAP, _SIZE + _CAPTION + _GAP
    sheet = Image.new("RGB", (len(ROLES) * width + _GAP, len(triplets) * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, triplet in enumerate(triplets):
        for column, (role, (image, label)) in enumerate(zip(ROLES, triplet, strict=True)):
            left, top = _GAP + column * width, _GAP + row * height
            draw.text((left, top), f"{role[0]}: {shown(label, _CAPTION_LENGTH)}", _INK)
            sheet.paste(thumbnail_of(image, _SIZE, background), (left, top + _CAPTION))
    write_file(path, png_of(sheet))


def _first_triplets(file: str, rows: int) -> list[tuple[_Pair, ...]]:
    """Reads the first triplet of the first anchors of a file."""
    batches = tf.data.TFRecordDataset(file).batch(1024).as_numpy_iterator()
    records = list(itertools.chain.from_iterable(batches))
    numbers: list[tuple[int, int, int]] = []
    for anchor, record in enumerate(records):
        features = tf.train.Example.FromString(record).features.feature
        chosen = [features[name].int64_list.value[:1] for name in (POSITIVES, NEGATIVES)]
        numbers += ((anchor, *pair) for pair in zip(*chosen, strict=True))
        if len(numbers) == rows:
            break
    return [tuple(_parse(records[number]) for number in triplet) for triplet in numbers]


def _parse(record: bytes) -> _Pair:
    features = tf.train.Example.FromString(record).features.feature
    return features[IMAGE].bytes_list.value[0], features[LABEL].bytes_list.value[0]
