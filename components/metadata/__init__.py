"""The reader of ML Metadata: executions, events, lineage, models. Nothing of TFX is loaded.

Only this package and `pipeline.metadata` call the methods of a metadata store. Artifacts and
executions are given as ML Metadata's own messages; `plain_values` makes a dictionary of their
properties.

>>> from ml_metadata.proto import metadata_store_pb2 as proto
>>> from components.metadata import plain_values
>>> execution = proto.Execution()
>>> execution.custom_properties["span"].int_value = 3
>>> plain_values(execution)
{'span': 3}
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
