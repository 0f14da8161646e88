"""What code inside a node tells the process around it, and what it keeps from the terminal.

>>> from modules.runtime import work_done
>>> work_done.reset()
>>> work_done.add("images", 256)
>>> work_done.describe()
'256 images'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
