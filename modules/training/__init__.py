"""A training from its settings: devices, step, optimizer, callbacks, checkpoints, progress.

Look here for what happens in a step (`triplet_model.py`), when a training validates and ends
(`pace.py`), when it fails (`guard.py`), what it advises (`advice.py`), and how a killed one goes on
(`checkpoints.py`).

>>> from modules.settings import ModelSettings, TrainingSettings, ImageSettings
>>> from modules.models import build_embedding_model
>>> from modules.training import compile_model
>>> embedder = build_embedding_model(ModelSettings(), ImageSettings())
>>> compile_model(embedder, TrainingSettings(), steps=600, model=ModelSettings()).settings.mining
'semi_hard'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
