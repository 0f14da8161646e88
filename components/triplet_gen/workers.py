"""Makes a node fail when a worker process of Beam's local runner dies, instead of waiting for ever.

With `--direct_running_mode=multi_processing`, FnApiRunner (Beam 2.77) starts its workers as
processes. When one dies before it connects, or in a step without output, nobody tells the thread
that waits for its answer (`SubprocessSdkWorker.run` raises in a thread of its own). The handler
here aborts what waits, as Beam does for workers in Docker.

Beam tells only connected workers to end. One that is still starting when the pipeline fails
connects later, gets no work, and Beam waits for it. The handler leaves it the message to end.

Beam has no public place for this; `tests/test_private_names.py` fails when the names change.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.worker_handlers import (
    BeamFnControlServicer,
    SubprocessSdkWorkerHandler,
    WorkerHandler,
)

_SECONDS = 1.0  # between two looks for new requests to a worker that is gone
_CLOSED = "Channel closed prematurely"  # what Beam says when it notices by itself


class WorkerEndedError(RuntimeError):
    """A worker process of Beam ended before its work was done."""

    def __init__(self) -> None:
        super().__init__(
            "TripletGen: a worker process of Beam ended before its work was done, as when the "
            "kernel kills it for memory; its exit code is in the log. Run again, with fewer "
            "workers (--direct_num_workers) if memory is short."
        )


class WatchedWorkerHandler(SubprocessSdkWorkerHandler):
    """Beam's handler of a worker process, which also notices that the process has ended."""

    def start_worker(self) -> None:
        """Starts the process and watches it."""
        self._closing = threading.Event()
        super().start_worker()
        threading.Thread(name="watch_worker", target=self._watch, daemon=True).start()

    def close(self) -> None:
        """Ends the process, which is expected now."""
        self._closing.set()
        # Beam's own comes too when the worker is connected; only the first one is read.
        self.control_conn.push(BeamFnControlServicer._DONE_MARKER)
        super().close()

    def _watch(self) -> None:
        self.worker_thread.join()  # it lasts as long as the process
        # Requests may still come: the runner does not know.
        while not self._closing.wait(_SECONDS):
            self.data_conn.close()
            for future in list(self.control_conn._futures_by_id.values()):
                future.abort(WorkerEndedError())


@contextlib.contextmanager
def watch_workers() -> Iterator[None]:
    """Watches the worker processes of pipelines that run in the `with` block.

    Raises:
        WorkerEndedError: If one of them ended too early.
    """
    WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(WatchedWorkerHandler)
    try:
        yield
    except RuntimeError as error:
        if _CLOSED in str(error):
            raise WorkerEndedError from error
        raise
    finally:
        WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)(
            SubprocessSdkWorkerHandler
        )
