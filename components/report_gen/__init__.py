"""ReportGen: a page about every evaluated model, and its model card; it never ends a run.

>>> from components.report_gen import REPORT_KEY
>>> REPORT_KEY
'report'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
