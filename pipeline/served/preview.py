"""A preview: rows of small pictures with captions, as one PNG or one page."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from modules.runtime import shown

if TYPE_CHECKING:
    from PIL import Image

SIZE = 96  # pixels of a picture, height and width
_GAP, _LINE = 12, 16
_LETTERS = 15  # of a caption, about as wide as a picture
_PAPER, _INK, _PALE, _LINE_COLOUR = "#ffffff", "#1f2328", "#59636e", "#d1d9e0"


class Tile(NamedTuple):
    """A picture with two lines below it.

    Attributes:
        picture: Encoded; None if there is none.
        title: Such as a label.
        note: Such as a distance.
    """

    picture: bytes | None
    title: str
    note: str = ""


class Row(NamedTuple):
    """Pictures that belong together.

    Attributes:
        heading: Above them.
        first: Stands apart, as a query does; None without one.
        tiles: The others.
    """

    heading: str
    first: Tile | None
    tiles: Sequence[Tile]


def write_preview(path: Path, title: str, rows: Sequence[Row]) -> None:
    """Writes a preview: a page if the name ends in `.html`, else a PNG.

    Raises:
        OSError: The file cannot be written.
    """
    if path.suffix.lower() in (".html", ".htm"):
        path.write_text(preview_page(title, rows), encoding="utf-8")
    else:
        path.write_bytes(preview_png(rows))


def preview_png(rows: Sequence[Row], per_line: int = 10) -> bytes:
    """Draws rows of pictures.

    Args:
        rows: At least one.
        per_line: Pictures in a line; longer rows go on in the next one.
    """
    from PIL import Image, ImageDraw, ImageFont  # here, since every command loads this package

    from modules.images import png_of

    cell, height = SIZE + _GAP, SIZE + 2 * _LINE + _GAP
    apart = any(row.first for row in rows)
    widest = max(min(len(row.tiles), per_line) for row in rows)
    lines = [max(1, math.ceil(len(row.tiles) / per_line)) for row in rows]
    left = _GAP + (cell + _GAP if apart else 0)
    width = max(left + widest * cell, 3 * cell)
    sheet = Image.new("RGB", (width, _GAP + sum(n * height + _LINE + _GAP for n in lines)), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)

    def put(tile: Tile, x: int, y: int) -> None:
        sheet.paste(_square(tile.picture), (x, y))
        for number, (text, colour) in enumerate(((tile.title, _INK), (tile.note, _PALE))):
            place = (x, y + SIZE + 2 + number * _LINE)
            draw.text(place, shown(text, _LETTERS), colour, font=font)

    top = _GAP
    for row, count in zip(rows, lines, strict=True):
        draw.text((_GAP, top), shown(row.heading, width // 7), _PALE, font=font)
        top += _LINE + 2
        if row.first:
            put(row.first, _GAP, top)
            x = left - _GAP
            draw.line([(x, top), (x, top + SIZE)], _LINE_COLOUR, 1)
        for number, tile in enumerate(row.tiles):
            line, column = divmod(number, per_line)
            put(tile, left + column * cell, top + line * height)
        top += count * height + _GAP - 2
    return png_of(sheet)


def _square(picture: bytes | None) -> Image.Image:
    from modules.images import thumbnail_of

    return thumbnail_of(picture or b"", SIZE)


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem; }}
section {{ margin: 0 0 1.5rem; }}
h1 {{ font-size: 1.3rem; }}
h2 {{ font-size: .9rem; font-weight: 500; opacity: .75; margin: 0 0 .4rem; }}
h2, figcaption {{ overflow-wrap: anywhere; }}
div {{ display: flex; flex-wrap: wrap; gap: .75rem; }}
figure {{ margin: 0; width: {size}px; font-size: 12px; }}
figure.first {{ padding-right: .75rem; border-right: 1px solid #8888; }}
img {{ display: block; width: {size}px; height: {size}px; border-radius: 4px; }}
small {{ opacity: .7; font-variant-numeric: tabular-nums; }}
</style>
<h1>{title}</h1>
{rows}
</html>
"""


def preview_page(title: str, rows: Sequence[Row]) -> str:
    """One HTML file with the pictures in it."""

    def figure(tile: Tile, kind: str = "") -> str:
        from modules.images import png_of

        picture = base64.b64encode(png_of(_square(tile.picture))).decode()
        name, note = html.escape(shown(tile.title)), html.escape(shown(tile.note))
        return (
            f'<figure{kind}><img alt="{name}" src="data:image/png;base64,{picture}">'
            f"<figcaption>{name}<br><small>{note}</small></figcaption></figure>"
        )

    def section(row: Row) -> str:
        first = figure(row.first, ' class="first"') if row.first else ""
        return (
            f"<section><h2>{html.escape(shown(row.heading))}</h2>"
            f"<div>{first}{''.join(figure(tile) for tile in row.tiles)}</div></section>"
        )

    body = "\n".join(section(row) for row in rows)
    return _PAGE.format(title=html.escape(title), size=SIZE, rows=body)
