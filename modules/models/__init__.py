"""Networks from pixels to unit vectors: backbones, the embedding on top, and weights to start from.

Look here for `[model] name` (the table BACKBONES in `backbones.py`; `presets.py` for
KerasHub), `weights` and `trainable` (`lora.py`), and for the warm start.

>>> from modules.models import build_embedding_model
>>> from modules.settings import ImageSettings, ModelSettings
>>> build_embedding_model(ModelSettings(embedding_size=64), ImageSettings()).output_shape
(None, 64)
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
