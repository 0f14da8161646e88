"""The web application of `serve`: a served version by HTTP, and a page to try it.

`application.py` has the requests; `batching.py` lets requests that wait together share one call of
the model, `current.py` follows the serving folder, `limits.py` and `metrics.py` stand around all of
it. The page in `page/` asks no other host for anything.

>>> from pipeline.web import WebSettings
>>> WebSettings().host
'127.0.0.1'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
