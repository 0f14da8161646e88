"""A picture of some triplets, for people to look at."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence

import tensorflow as tf
from PIL import Image, ImageDraw

from modules.contract import IMAGE, LABEL, ROLES

_TILE, _CAPTION, _GAP = 96, 16, 8
_PAPER, _INK = "white", "black"


def write_preview(shards: Sequence[str], path: str, rows: int = 8) -> None:
    """Draws the first triplets of a split, one per row: anchor, positive, negative.

    Args:
        shards: Paths of triplet shards, at least one triplet in all.
        path: PNG to write.
        rows: The most triplets to draw.
    """
    records = itertools.islice(tf.data.TFRecordDataset(sorted(shards)).as_numpy_iterator(), rows)
    triplets = [tf.train.Example.FromString(record).features.feature for record in records]
    width, height = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = Image.new("RGB", (len(ROLES) * width + _GAP, len(triplets) * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row, triplet in enumerate(triplets):
        for column, role in enumerate(ROLES):
            left, top = _GAP + column * width, _GAP + row * height
            label = triplet[f"{role}/{LABEL}"].bytes_list.value[0].decode(errors="replace")
            draw.text((left, top), f"{role[0]}: {label}"[:16], _INK)
            tile = _tile(triplet[f"{role}/{IMAGE}"].bytes_list.value[0])
            sheet.paste(tile, (left, top + _CAPTION))
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(buffer.getvalue())


def _tile(encoded: bytes) -> Image.Image:
    """The image in a square; grey where it cannot be decoded, which is Transform's to report."""
    tile = Image.new("RGB", (_TILE, _TILE), "gainsboro")
    try:
        image = Image.open(io.BytesIO(encoded)).convert("RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return tile
    scale = _TILE / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    image = image.resize(size, Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BOX)
    tile.paste(image, ((_TILE - size[0]) // 2, (_TILE - size[1]) // 2))
    return tile
