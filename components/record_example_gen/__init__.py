"""RecordExampleGen: TFRecords of the data contract, checked, one span after the other.

>>> from components.image_example_gen import given_splits
>>> from components.record_example_gen import RecordExampleGen
>>> days = given_splits({"all": "day-{YYYY}-{MM}-{DD}/*"})
>>> RecordExampleGen(input_base="records", input_config=days).id
'RecordExampleGen'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
