"""Typed settings of what runs inside the nodes; `pipeline.config` puts them into its tables.

They live here because Transform and Trainer receive them as `custom_config` and check them again:
a user module must not depend on the pipeline that called it.

>>> from modules.settings import ImageSettings
>>> ImageSettings(height=32, width=32).channels
1
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
