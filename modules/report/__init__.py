"""The report of a run: one page that people open, and the model card.

Everything is drawn here, in SVG, and by one script in the page; it asks no network for anything.

>>> from modules.report import page_number
>>> page_number(0.98765), page_number(float("nan"))
('0.9877', '–')
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
