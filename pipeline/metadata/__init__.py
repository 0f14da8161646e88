"""The readers of ML Metadata: runs, events, blessed and served models, rejections.

Everything that a command says about the past comes from here.

>>> from pipeline.metadata import connection_config
>>> connection_config("grpc://metadata:8080", {}).host
'metadata'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
