"""One line per node while a local run goes on."""

from __future__ import annotations

import logging
import time
from types import TracebackType

import absl.logging
from rich.console import Console

# What TFX logs about its nodes (tfx.orchestration.local.local_dag_runner, ...portable.launcher).
_STARTED = "Component %s is running."
_FINISHED = "Component %s is finished."
_CACHED = "A cached execution %d is used."
_UNRESOLVED = "[%s] Input resolution error: %s"


class UnresolvedError(RuntimeError):
    """The inputs of a node could not be found, which TFX logs and goes on."""


class NodeProgress(logging.Handler):
    """Context manager that prints each node when it starts and when it ends.

    It also ends a run whose node found no inputs, with an `UnresolvedError`: TFX would start the
    nodes after it, and Pusher takes a missing blessing for a pipeline without a gate.

    TFX's LocalDagRunner has no callbacks; it logs these events by fixed templates, and this handler
    listens to them. INFO records are not printed otherwise.

    Args:
        nodes: Number of nodes in the pipeline.
    """

    def __init__(self, nodes: int) -> None:
        super().__init__(logging.INFO)
        self._nodes = nodes
        self._done = 0
        self.running_node: str | None = None
        self._cached = False
        self._since = 0.0
        self._unresolved: BaseException | None = None
        self._console = Console(highlight=False, markup=False)

    def emit(self, record: logging.LogRecord) -> None:
        """Reacts to the templates.

        Raises:
            UnresolvedError: A node without inputs has ended.
        """
        if record.msg == _STARTED and record.args:
            self.running_node, self._cached = str(record.args[0]), False
            self._since = time.monotonic()
            self._console.print(f"[{self._done + 1:2}/{self._nodes}] {self.running_node} …")
        elif record.msg == _CACHED:
            self._cached = True
        elif record.msg == _UNRESOLVED and record.args:
            self._unresolved = record.args[1]
        elif record.msg == _FINISHED and self._unresolved:
            reason = self._unresolved
            while reason.__cause__:
                reason = reason.__cause__
            raise UnresolvedError(f"{self.running_node} has no inputs: {reason}") from reason
        elif record.msg == _FINISHED and self.running_node:
            self._done += 1
            self._report("cached" if self._cached else "done")

    def _report(self, state: str) -> None:
        seconds = time.monotonic() - self._since
        self._console.print(
            f"[{self._done:2}/{self._nodes}] {self.running_node} {state}, {seconds:.1f} s"
        )
        self.running_node = None

    def __enter__(self) -> NodeProgress:
        for handler in {absl.logging.get_absl_handler(), *logging.getLogger().handlers}:
            handler.setLevel(logging.WARNING)
        # By absl's own flag: Beam executors parse the flags, which resets the logger's level to it.
        absl.logging.set_verbosity(absl.logging.INFO)
        absl.logging.get_absl_logger().addHandler(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        absl.logging.get_absl_logger().removeHandler(self)
        if self.running_node:
            self._done += 1
            self._report("FAILED")
