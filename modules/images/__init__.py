"""Pixels: decoding, standardising, random changes of training images, thumbnails.

Look here also for which numbers black and white become, which pre-trained weights must know.

>>> from modules.images import PixelRange
>>> black, white = PixelRange.of_imagenet(3)
>>> len(black), black[0] < 0 < white[0]
(3, True)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
