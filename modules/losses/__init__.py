"""Triplet losses: a miner, a distance, a loss term and a mean, each to be chosen by itself.

Look here for how triplets of a batch are mined (`miners.py`), what a margin refers to
(`distances.py`), what a triplet costs (`terms.py`), and how all triplets are summed without an N³
cube (`batch_all.py`).

The terms of the two triplets below are 2 − 2 + 0.5 and 2 − 0 + 0.5.

>>> from modules.losses import TripletLoss
>>> loss = TripletLoss(margin=0.5, mining="all")
>>> float(loss(["a", "a", "b"], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
1.5
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
