from .errors import WorkerFailedError as WorkerFailedError, WorkerLostError as WorkerLostError
from .starting import (
    Started as Started,
    Starter as Starter,
    start_here as start_here,
    use_starter as use_starter,
)
from .supervision import train_on_workers as train_on_workers
from .worker import run_worker as run_worker
