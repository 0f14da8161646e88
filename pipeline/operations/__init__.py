"""The work of the commands: what they show of the runs, and what they change.

>>> from pipeline.operations import format_spans
>>> format_spans([3, 4, 5])
'3–5'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
