"""Pusher: TFX's node of that name, which here shows a version only when it is complete.

>>> import pathlib, tempfile
>>> from components.pusher import versions
>>> with tempfile.TemporaryDirectory() as folder:
...     for name in ("7", "10", ".incoming-8"):
...         pathlib.Path(folder, name).mkdir()
...     versions(folder)
[7, 10]
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
