from .augmentation import Augmentation as Augmentation
from .pixel_range import (
    IMAGENET_DEVIATION as IMAGENET_DEVIATION,
    IMAGENET_MEAN as IMAGENET_MEAN,
    PixelRange as PixelRange,
    find_pixel_range as find_pixel_range,
)
