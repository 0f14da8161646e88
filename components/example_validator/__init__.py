"""ExampleValidator: TFX's node of that name, which here also stops the run.

Look here for what counts as an anomaly, for drift and skew, and for new and vanished classes.

>>> from tfx.types import Channel, standard_artifacts
>>> from components.example_validator import ExampleValidator
>>> validator = ExampleValidator(
...     statistics=Channel(type=standard_artifacts.ExampleStatistics),
...     schema=Channel(type=standard_artifacts.Schema),
... )
>>> sorted(validator.outputs)
['anomalies']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
