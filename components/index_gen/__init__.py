"""IndexGen: embeds the gallery with a blessed model, and makes the index that is pushed with it.

>>> from components.index_gen import INDEX_KEY
>>> INDEX_KEY
'index'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
