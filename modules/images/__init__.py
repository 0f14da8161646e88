"""Pixels: random changes of training images, and which numbers black and white become.

Decoding and resizing are in `modules/preprocessing.py`, since they belong to the transform graph.

>>> from modules.images import PixelRange
>>> black, white = PixelRange.of_imagenet(3)
>>> len(black), black[0] < 0 < white[0]
(3, True)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
