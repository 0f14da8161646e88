"""Which earlier artifacts a run takes up: last blessed model, earlier statistics, window of spans.

One file per strategy; each is given to a Resolver node of TFX.

>>> from tfx.dsl.components.common.resolver import Resolver
>>> from tfx.types import Channel, standard_artifacts
>>> from components.resolvers import PreviousStatisticsStrategy
>>> statistics = Channel(type=standard_artifacts.ExampleStatistics)
>>> resolver = Resolver(
...     strategy_class=PreviousStatisticsStrategy, statistics=statistics, current=statistics
... )
>>> sorted(resolver.outputs)
['current', 'statistics']
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
