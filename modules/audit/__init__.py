"""What is wrong with labelled images, without TFX: copies, leaks, near-duplicates, wrong labels.

Look here for what counts as a copy (`looks.py`, `copies.py`), for the search for near-duplicates
that does not compare all pairs (`near.py`), for wrong labels by the neighbours (`labels.py`), and
for the file that all of it ends in (`report.py`).

>>> import numpy as np
>>> from modules.audit import judge_labels
>>> vectors = np.eye(2, dtype=np.float32)[[0, 0, 0, 0, 1, 1, 1]]
>>> ids = [b"a", b"b", b"c", b"d", b"e", b"f", b"g"]
>>> verdict = judge_labels(ids, [b"x", b"x", b"y", b"x", b"y", b"y", b"y"], vectors)
>>> [(one["id"], one["neighbours"]) for one in verdict.suspects]
[('c', 'x')]
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
