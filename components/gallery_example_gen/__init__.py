"""GalleryExampleGen: reads a catalogue that is searched and never trained on.

>>> from components.gallery_example_gen import ImageGalleryGen
>>> node = ImageGalleryGen("photos", max_pixels=10**6)
>>> list(node.outputs)
['examples']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
