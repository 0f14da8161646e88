"""A search for good settings: which are tried, for how long, and how good each of them is.

Look here for the keys that are searched (`space.py`), for who trains how long (`halving.py`), and
for one training of the search (`trials.py`).

>>> from modules.settings import ImageSettings, ModelSettings, TrainingSettings
>>> from modules.tuning import search_space
>>> space = search_space(ModelSettings(), TrainingSettings(), [ImageSettings()])
>>> space.get("training.mining")
'semi_hard'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
