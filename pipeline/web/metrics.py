"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.web.current import CurrentVersion

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters of one application; nothing of the process is shared with another."""

    def __init__(self, current: CurrentVersion) -> None:
        self.registry = CollectorRegistry()
        self._current = current
        self._requests = Counter(
            "triplet_requests", "Answered requests.", ["path", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "triplet_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["path"],
            registry=self.registry,
            buckets=_SECONDS,
        )
        self.batch = Histogram(
            "triplet_batch_images",
            "Images in one call of the model.",
            registry=self.registry,
            buckets=_IMAGES,
        )
        self._gauge("triplet_ready", "1 if a version answers.", lambda: current.is_there)
        self._gauge("triplet_version", "The version that answers; 0 for none.", self._version)
        self._gauge("triplet_gallery_images", "Images that can be found.", self._gallery)
        self._gauge("triplet_version_changes", "Versions that took over.", lambda: current.changes)
        self._gauge(
            "triplet_version_failures",
            "Looks that found a version which could not be used.",
            lambda: current.failures,
        )
        ProcessCollector(registry=self.registry)

    def watch_waiting(self, waiting: Callable[[], int]) -> None:
        """Shows how many images wait."""
        self._gauge("triplet_waiting_images", "Images that wait for the model.", waiting)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self.registry)

    def around(self, app: ASGIApp, paths: frozenset[str]) -> ASGIApp:
        """Counts the requests of an application, by path if it is one of its own."""

        async def observed(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            started, status = time.perf_counter(), 500
            path = scope["path"] if scope["path"] in paths else "other"

            async def note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, note)
            finally:
                self._requests.labels(path, status).inc()
                self._seconds.labels(path).observe(time.perf_counter() - started)

        return observed

    def _gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        Gauge(name, text, registry=self.registry).set_function(value)

    def _version(self) -> float:
        name = self._current.get().name if self._current.is_there else "0"
        return float(name) if name.isdigit() else 1.0

    def _gallery(self) -> float:
        index = self._current.get().index if self._current.is_there else None
        return float(len(index)) if index else 0.0
