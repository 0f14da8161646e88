"""Beam's runner for job servers, with jobs that may last and failures that are told.

Three things of `PortableRunner` (Beam 2.77) do not do for a node that runs unattended:

- It ends the streams of a job's states and messages after `--job_server_timeout`, 300 seconds,
  where the server knows the job before it is started, as Prism does. A longer job fails with
  `DEADLINE_EXCEEDED` although it goes on.
- It waits for the next state for ever. A server whose machine is gone sends none, and does not end
  the connection either.
- What it raises then is an error of gRPC, which names no cause that one could act on.

`--runner=pipeline.job_server.JobServerRunner` names this one, see `pipeline.config.BeamSettings`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from apache_beam.options.pipeline_options import PipelineOptions, PortableOptions
from apache_beam.portability.api import beam_job_api_pb2 as api
from apache_beam.runners.portability.portable_runner import JobServiceHandle, PortableRunner

# Tests make these shorter.
LOOK_EVERY = 10.0  # seconds between two questions whether the server is still there
ANSWER_WITHIN = 20.0  # seconds that it has for an answer
TRIES = 3  # unanswered questions in a row, after which it is gone

# In what job servers say of a worker that ended: Prism; Flink and Spark.
_WORKER_ENDED = ("SDK worker disconnected", "get control connection", "SDK disconnect",
                 "SDK harness disconnected", "multiplexer")  # fmt: skip


class JobServerError(RuntimeError):
    """The job server, or a worker of it, ended before the work was done."""


class JobServerRunner(PortableRunner):
    """`PortableRunner` that watches the job server for as long as a job runs."""

    def create_job_service_handle(
        self, job_service: Any, options: PipelineOptions
    ) -> JobServiceHandle:
        """Of a job whose streams have no time limit."""
        return _Handle(job_service, options)

    def run_portable_pipeline(self, pipeline: Any, options: PipelineOptions) -> Any:
        """Starts a job.

        Returns:
            Beam's result, whose `wait_until_finish` raises JobServerError within a minute and a
            half after the job server has gone.

        Raises:
            JobServerError: The job server cannot be reached, or does not take the job.
        """
        endpoint = str(options.view_as(PortableOptions).job_endpoint)
        with _faults_of(endpoint):
            result = super().run_portable_pipeline(pipeline, options)
        wait = result.wait_until_finish

        def wait_until_finish(duration: int | None = None) -> Any:
            with _faults_of(endpoint), _watched(result):
                return wait(duration)

        result.wait_until_finish = wait_until_finish
        return result


class _Handle(JobServiceHandle):
    """Starts a job first, and then listens to it for as long as it runs."""

    def run(self, preparation_id: str) -> tuple[str, Any, Any]:
        started = self.job_service.Run(api.RunJobRequest(preparation_id=preparation_id))
        messages = api.JobMessagesRequest(job_id=started.job_id)
        states = api.GetJobStateRequest(job_id=started.job_id)
        return (
            started.job_id,
            self.job_service.GetMessageStream(messages),
            self.job_service.GetStateStream(states),
        )


@contextmanager
def _watched(result: Any) -> Iterator[None]:
    """Ends the wait for the next state when the server answers no more."""
    done, gone = threading.Event(), threading.Event()

    def watch() -> None:
        unanswered = 0
        while not done.wait(LOOK_EVERY):
            try:
                request = api.GetJobStateRequest(job_id=result._job_id)
                result._job_service.GetState(request, timeout=ANSWER_WITHIN)
                unanswered = 0
            except grpc.RpcError:
                unanswered += 1
            if unanswered == TRIES and not done.is_set():
                gone.set()
                result._state_stream.cancel()
                return

    threading.Thread(name="watch_job_server", target=watch, daemon=True).start()
    try:
        yield
    except grpc.RpcError as error:
        if gone.is_set():
            raise _Silent from error
        raise
    finally:
        done.set()


class _Silent(Exception):  # noqa: N818 (never leaves this file)
    """The server has answered none of several questions."""


@contextmanager
def _faults_of(endpoint: str) -> Iterator[None]:
    """Says in a sentence what went wrong with the server, or with a worker of it."""
    try:
        yield
    except _Silent as error:
        raise JobServerError(
            f"The job server {endpoint} has answered none of {TRIES} questions; it or its machine "
            "hangs, or the network is down. What it had not finished is lost. Look at it, then run "
            "again."
        ) from error
    except grpc.FutureTimeoutError as error:
        raise JobServerError(
            f"The job server {endpoint} cannot be reached. Start it, then run again."
        ) from error
    except grpc.RpcError as error:
        what = f"{error.code().name}: {error.details()}" if isinstance(error, grpc.Call) else error
        raise JobServerError(
            f"The job server {endpoint} ended, or refused the work ({what}). See its own log: a "
            "worker that the kernel kills for memory can take it along. Start it again, then run "
            "again."
        ) from error
    except RuntimeError as error:
        if any(words in str(error) for words in _WORKER_ENDED):
            raise JobServerError(
                f"A worker process of the job server {endpoint} ended before its work was done, as "
                "when the kernel kills it for memory; nothing of this step is kept. See the log of "
                f"the worker pool, then run again. The server said: {error}"
            ) from error
        raise
