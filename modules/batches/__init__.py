"""What a training step sees: triplets of TripletGen, or P classes with K images each.

Look here for how records are read, dealt into batches, and kept decoded in memory or on disk
(`[training] cache_megabytes`, `disk_cache_megabytes`).

>>> import numpy as np
>>> from modules.batches import LabelledImages
>>> LabelledImages._fields
('images', 'labels', 'ids')
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
