"""Transform: TFX's node of that name, which here chooses the size of the images if nobody did.

>>> from components.transform import TypicalImage, choose_image
>>> from modules.settings import ImageLimits, ImageTable
>>> photograph = TypicalImage(height=375, width=500, channels=3)
>>> choose_image(ImageTable(), photograph, ImageLimits(least=10, most=64))
ImageSettings(height=48, width=64, channels=3, background='white')
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
