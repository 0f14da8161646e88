"""TripletGen: makes triplets of labelled images, by one shuffle into buckets and numpy within them.

Look here for strategies (`sampling.py`, `mining.py`, `anchors.py`), for what is held out
(`validation.py`), for who meets whom (`buckets.py`, `neighbourhood.py`), for memory and order
(`transforms.py`, `spool.py`), and for what is written (`records.py`, `publishing.py`,
`preview.py`).

>>> from tfx.types import Channel, standard_artifacts
>>> from components.triplet_gen import TripletGen
>>> node = TripletGen(examples=Channel(type=standard_artifacts.Examples), triplets_per_anchor=4)
>>> sorted(node.outputs)
['triplets']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
