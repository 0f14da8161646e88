"""DataAudit: what is wrong with the images, before anything is learned from them.

Look here for how the images are read and how the findings come together in Beam (`transforms.py`);
the mathematics is in `modules.audit`.

>>> from tfx.types import Channel, standard_artifacts
>>> from components.data_audit import DataAudit
>>> node = DataAudit(examples=Channel(type=standard_artifacts.Examples))
>>> sorted(node.outputs)
['audit']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
