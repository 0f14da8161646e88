"""Whether a model may be pushed: thresholds as a tfma.EvalConfig, and what the evaluation came to.

Look here for `lower`, `upper`, `max_drop` and `max_relative_drop`, and for the sentences that say
why a model was not blessed. The metrics themselves are in `modules.retrieval`.

>>> from modules.gate import make_eval_config
>>> config = make_eval_config(ks=[1], thresholds={"precision@1": {"lower": 0.9}})
>>> config.metrics_specs[0].metrics[0].class_name
'RetrievalMetrics'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
