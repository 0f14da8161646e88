"""The table `[image]`, and what becomes of it once the data is known."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from modules.settings.base import Settings

Fit = Literal["letterbox", "crop", "squash"]


def _colour(text: str) -> str:
    rgb(text)
    return text


def rgb(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour as CSS names it, such as `white` or `#ffffff`.

    Raises:
        ValueError: There is no such colour, or it is transparent itself.
    """
    from PIL import ImageColor  # here, since every command loads the settings

    try:
        red, green, blue, *alpha = ImageColor.getrgb(colour)
        if alpha:
            raise ValueError
    except ValueError as error:
        raise ValueError(
            f"{colour!r} is no opaque colour, expected a name of CSS or #rrggbb, such as 'white' "
            "or '#ffffff'"
        ) from error
    return red, green, blue


Colour = Annotated[str, Field(max_length=100), AfterValidator(_colour)]
WHITE = "white"
MAX_PIXELS = 50_000_000  # width × height of a file


class ImageSettings(Settings):
    """What the network sees of an image, complete: given, or chosen by Transform."""

    height: Annotated[int, Field(ge=1, le=4096)] = 28
    width: Annotated[int, Field(ge=1, le=4096)] = 28
    channels: Literal[1, 3] = 1
    fit: Fit = "letterbox"
    background: Colour = WHITE
    # That of `[data]`: the served model refuses what ExampleGen would.
    max_pixels: Annotated[int, Field(ge=1, le=2**31 - 1, repr=False)] = MAX_PIXELS

    @property
    def background_rgb(self) -> tuple[int, int, int]:
        """The colour behind transparent images and of bars, each 0…255."""
        return rgb(self.background)


class ImageTable(Settings):
    """`[image]`: what the network sees of an image.

    What is not given, Transform chooses from the statistics of the train split;
    `docs/training.md` says how.
    """

    height: Annotated[
        int | None, Field(ge=1, le=4096, description="pixels; others are scaled. Default: chosen")
    ] = None
    width: Annotated[
        int | None, Field(ge=1, le=4096, description="pixels; others are scaled. Default: chosen")
    ] = None
    channels: Annotated[
        Literal[1, 3] | None, Field(description="1 for grey, 3 for colour. Default: chosen")
    ] = None
    # Nothing of an image is lost, and its form is kept, whatever the data are.
    fit: Annotated[
        Fit,
        Field(
            description="of an image of another form: bars around it, its middle, or distorted; "
            "images of the form that is asked for are the same with each"
        ),
    ] = "letterbox"
    background: Annotated[
        Colour,
        Field(description="behind transparent images, and in bars: a name of CSS or #rrggbb"),
    ] = WHITE

    @property
    def missing(self) -> tuple[str, ...]:
        """The keys that are not given."""
        return tuple(key for key in type(self).model_fields if getattr(self, key) is None)


class ImageLimits(Settings):
    """How small and how large a side may be where it is chosen, in pixels."""

    least: Annotated[int, Field(ge=1)]
    most: Annotated[int, Field(ge=1)]
