from .augmentation import Augmentation as Augmentation
from .bent_classes import bend as bend, draw_bends as draw_bends
from .decode import (
    compiled_decoder as compiled_decoder,
    count_channels as count_channels,
    decode_images as decode_images,
    decode_pixels as decode_pixels,
    decode_to_array as decode_to_array,
    map_decoded as map_decoded,
)
from .decoder import REFUSED as REFUSED
from .fit import resize_pixels as resize_pixels
from .header import TOO_LARGE as TOO_LARGE
from .kinds import Kind as Kind, tell_kinds as tell_kinds
from .pixel_range import (
    IMAGENET_DEVIATION as IMAGENET_DEVIATION,
    IMAGENET_MEAN as IMAGENET_MEAN,
    PixelRange as PixelRange,
    find_pixel_range as find_pixel_range,
)
from .standardise import standardise_channels as standardise_channels
from .thumbnail import (
    png_of as png_of,
    small_jpeg as small_jpeg,
    small_webp as small_webp,
    thumbnail_of as thumbnail_of,
)
from .transformed import (
    IMAGE_FILE as IMAGE_FILE,
    note_image as note_image,
    transformed_image as transformed_image,
)
from .turned_classes import (
    draw_orientations as draw_orientations,
    label_orientations as label_orientations,
    orientations_of as orientations_of,
)
