"""Several processes, on as many machines, that make one training.

Look here for how they find each other (`meeting.py`), what one of them does (`worker.py`), who
starts them (`starting.py`) and who watches over them (`supervision.py`). What a step does on
several machines is in `modules.training`.

>>> from modules.workers import WorkerLostError
>>> str(WorkerLostError("Worker 1 of 2 was killed."))
'Worker 1 of 2 was killed.'
"""

import lazy_loader as lazy

__getattr__, __dir__, __all__ = lazy.attach_stub(__name__, __file__)
