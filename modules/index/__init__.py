"""The index of a version: vectors of a gallery that belong to one model, and to no other.

Beside the SavedModel a version folder holds `index/`: `vectors.faiss`, `gallery.parquet` and
`index.json`. `layout.py` writes and opens them, `fingerprint.py` ties them to the model.

>>> from modules.index import index_folder
>>> index_folder("serving/7")
'serving/7/index'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
