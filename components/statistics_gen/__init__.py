"""StatisticsGen: TFX's node of that name, which here also measures the images.

>>> from components.statistics_gen import IMAGE_FEATURES
>>> sorted(IMAGE_FEATURES)
['image/brightness', 'image/channels', 'image/contrast', 'image/height', 'image/width']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
