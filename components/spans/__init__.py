"""Data that arrives piece by piece: patterns that tell spans apart, and which span a run reads.

>>> from components.spans import SpanPattern
>>> SpanPattern.parse("day-{YYYY}-{MM}-{DD}/*/*").has_spans
True
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
