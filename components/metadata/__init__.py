"""Lineage: what was made from what, by the events of ML Metadata.

Nodes and resolvers ask here; what the commands read is in `pipeline.metadata`.

>>> from components.metadata import Lineage
>>> [name for name in ("inputs_of", "outputs_of", "maker") if hasattr(Lineage, name)]
['inputs_of', 'outputs_of', 'maker']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
