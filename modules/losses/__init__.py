"""Losses on the labelled embeddings of a batch: of triplets, of pairs, of proxies, or your own.

A triplet loss is a miner, a distance, a loss term and a mean, each to be chosen by itself: look for
how triplets are mined in `miners.py`, what a margin refers to in `distances.py`, what a triplet
costs in `terms.py`, and how all are summed without an N³ cube in `batch_all.py`. The others have a
file each: `multi_similarity.py`, `supervised_contrastive.py`, `proxy_anchor.py`. Earlier batches
are kept in `memory.py`, a user's losses and miners come through `own_code.py`, and `objective.py`
makes any of them from settings.

The terms of the two triplets below are 2 − 2 + 0.5 and 2 − 0 + 0.5.

>>> from modules.losses import TripletLoss
>>> loss = TripletLoss(margin=0.5, mining="all")
>>> float(loss(["a", "a", "b"], [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]))
1.5
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
