"""What the pipeline knows of its runs: databases, run summaries, blessings, rollbacks.

Built on `components.metadata`, the reader that the nodes use too. Local runs keep their metadata in
a SQLite file, runs on Kubeflow in PostgreSQL, MySQL or MariaDB; `open_store` opens either.

>>> from pipeline.metadata import RunState
>>> RunState("data rejected").meaning.style
'bold yellow'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
