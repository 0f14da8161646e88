"""A picture of some triplets, for people to look at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from modules.contract import IMAGE, LABEL, ROLES
from modules.images import png_of, thumbnail_of
from modules.storage import read_examples, write_file

_SIZE, _CAPTION, _GAP = 96, 16, 8
_PAPER, _INK = "white", "black"


def write_preview(files: Sequence[str], path: str, rows: int = 8) -> None:
    """Draws the first triplets of a split, one per row: anchor, positive, negative.

    Args:
        files: Paths of the split, at least one triplet in all.
        path: PNG to write.
        rows: The most triplets to draw.
    """
    features = [f"{role}/{name}" for role in ROLES for name in (IMAGE, LABEL)]
    batches = read_examples(sorted(files), features, compression="", batch_size=rows)
    triplets = {name: column.numpy() for name, column in next(iter(batches)).items()}
    shown = len(triplets[features[0]])
    width, height = _SIZE + _GAP, _SIZE + _CAPTION + _GAP
    sheet = Image.new("RGB", (len(ROLES) * width + _GAP, shown * height + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    for row in range(shown):
        for column, role in enumerate(ROLES):
            left, top = _GAP + column * width, _GAP + row * height
            label = triplets[f"{role}/{LABEL}"][row].decode(errors="replace")
            draw.text((left, top), f"{role[0]}: {label}"[:16], _INK)
            picture = thumbnail_of(triplets[f"{role}/{IMAGE}"][row], _SIZE)
            sheet.paste(picture, (left, top + _CAPTION))
    write_file(path, png_of(sheet))
