"""Evaluator: TFX's node of that name, which here also says why, and may search elsewhere.

Look here for `reasons.txt`, `gallery_split`, and revoked blessings.

>>> from tfx.types import Channel, standard_artifacts
>>> import tensorflow_model_analysis as tfma
>>> from components.evaluator import Evaluator
>>> evaluator = Evaluator(
...     examples=Channel(type=standard_artifacts.Examples),
...     model=Channel(type=standard_artifacts.Model),
...     eval_config=tfma.EvalConfig(),  # `modules.gate.make_eval_config` writes a real one
...     module_path="modules.evaluator",
... )
>>> sorted(evaluator.outputs)
['blessing', 'evaluation']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
