"""TrainingDecision: whether a new span is worth a training; without one, the run ends there.

Look here for what is compared (`comparing.py`) and for what decides (`executor.py`).

>>> from tfx.types import Channel, standard_artifacts
>>> from components.training_decision import TrainingDecision
>>> node = TrainingDecision(
...     examples=Channel(type=standard_artifacts.Examples), tolerated_drop=0.01, max_skips=5
... )
>>> sorted(node.outputs)
['decision']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
