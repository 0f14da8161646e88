"""Files, wherever TensorFlow reaches them: local or in an object store such as `gs://`.

>>> import tempfile
>>> from modules.storage import read_file, write_file
>>> with tempfile.TemporaryDirectory() as folder:
...     write_file(f"{folder}/new/report.json", b"{}")
...     read_file(f"{folder}/new/report.json")
b'{}'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
