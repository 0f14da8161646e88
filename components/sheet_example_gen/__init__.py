"""SheetExampleGen: a sheet of images, CSV or Parquet, becomes examples of the data contract.

Look here for what a sheet may say (`rows.py`), how it is read (`tables.py`) and how boxes are cut
out (`cropping.py`).

>>> from components.sheet_example_gen import SheetExampleGen
>>> node = SheetExampleGen(input_base="photos", format="csv")
>>> node.id
'SheetExampleGen'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
