"""A new model beside the last blessed one: whose vectors go together, and what users will notice.

Look here for the search across two models (`across.py`), the map between their spaces
(`procrustes.py`), logged queries (`changed_results.py`), and the verdict (`verdict.py`).

>>> import numpy as np
>>> from modules.compatibility import learn_map
>>> quarter_turn = np.array([[0, 1], [-1, 0]], np.float32)
>>> new = np.array([[1, 0], [0, 1], [0.6, 0.8]], np.float32)
>>> np.allclose(learn_map(new, new @ quarter_turn), quarter_turn, atol=1e-6)
True
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
