"""The configuration: a TOML file, checked completely before the first node starts.

>>> from pipeline.config import load_config
>>> load_config("mnist-sample").training.steps
400
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
