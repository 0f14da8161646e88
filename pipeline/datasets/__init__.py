"""Known data sets as records of the data contract: MNIST, Fashion-MNIST, any four IDX files.

Look here for how they are downloaded and checked (`loading.py`, `idx.py`) and written as TFRecords,
all or none (`writing.py`).

>>> from pipeline.datasets import data_command
>>> [option.name for option in data_command.params if option.required]
['source', 'output']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
