"""Exact retrieval metrics: their definitions, the search for neighbours, scores, and both in Beam.

Look here for a metric's formula (`in_memory.py`, `verification.py`, `clustering.py`) and its name
(`definitions.py`), and for how a gallery larger than memory is searched in shards (`search.py`,
`transforms.py`).

>>> from modules.retrieval import make_gallery, score_queries
>>> gallery = make_gallery(["1", "2", "3"], ["a", "a", "b"], [[0.0], [0.1], [1.0]])
>>> score_queries(gallery, ks=[1])["precision@1"].tolist()
[1.0, 1.0, nan]
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
