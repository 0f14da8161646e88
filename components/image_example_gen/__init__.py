"""ImageExampleGen: image files in class folders become examples of the data contract.

Look here for which files are read (`reading.py`) and how they are split (`splits.py`).

>>> from components.image_example_gen import ImageExampleGen, hash_split
>>> node = ImageExampleGen(input_base="photos", output_config=hash_split(0.2, by="label"))
>>> node.id
'ImageExampleGen'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
