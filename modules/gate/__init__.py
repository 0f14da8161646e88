"""The gate: thresholds, the verdict that TFMA reaches with them, and the report on it.

>>> from modules.gate import Failure
>>> print(Failure("map@r", "label=3", 0.25, "0.2500 is below the threshold 0.5000 (by 0.2500)"))
map@r (label=3): 0.2500 is below the threshold 0.5000 (by 0.2500)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
