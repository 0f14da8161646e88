"""Runs the web application until it is told to end."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable
from typing import Any

import uvicorn

from pipeline.runtime import PipelineError
from pipeline.web.application import make_application
from pipeline.web.current import CurrentVersion
from pipeline.web.web_settings import WebSettings

_CONNECTIONS = 2000
# Seconds until an idle connection is closed. Load balancers and clients close theirs after 60: who
# closes first cannot break a request that the other has just begun.
_IDLE = 75
LAST_ANSWERS = 30  # seconds for requests that are under way at the end


class _Server(uvicorn.Server):
    """Says where it listens, which with port 0 nobody knows before."""

    def __init__(self, config: uvicorn.Config, listens: Callable[[str], None]) -> None:
        super().__init__(config)
        self._listens = listens

    async def startup(self, sockets: list[Any] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            for server in self.servers:
                for socket in server.sockets:
                    host, port = socket.getsockname()[:2]
                    self._listens(f"http://{f'[{host}]' if ':' in host else host}:{port}")


def server_config(current: CurrentVersion, settings: WebSettings) -> uvicorn.Config:
    """How the application is run."""
    return uvicorn.Config(
        make_application(current, settings),
        host=settings.host,
        port=settings.port,
        log_config=None,  # uvicorn's own closes the handlers that are there, and their streams
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=_CONNECTIONS,
        timeout_keep_alive=_IDLE,
        timeout_graceful_shutdown=LAST_ANSWERS,
    )


def run_server(
    folder: str,
    settings: WebSettings,
    max_pixels: int,
    *,
    wait: bool = False,
    listens: Callable[[str], None] = lambda url: None,
) -> None:
    """Serves until SIGTERM or SIGINT; requests that are under way are answered first.

    Args:
        folder: A serving folder, which is watched, or the folder of one version.
        settings: Address and limits.
        max_pixels: Largest width × height of an image.
        wait: Start without a version and wait for the first one.
        listens: Called with the address once requests are answered there.

    Raises:
        PipelineError: There is no version that can be used, or the address is taken.
    """
    _log_to_stderr()
    current = CurrentVersion(folder, max_pixels)
    try:
        current.look()
    except PipelineError as error:
        if not wait:
            raise
        logging.getLogger("pipeline.web").warning("%s Waiting for a version.", error)
    server = _Server(server_config(current, settings), listens)
    # Uvicorn sends itself the signal again once it has ended: it has done what was asked, code 0.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    try:
        server.run()
    except SystemExit as error:  # after a message, such as that the address is in use
        raise PipelineError(
            f"No server at {settings.host}, port {settings.port}: see the message above. Give "
            "another --host or --port."
        ) from error


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("pipeline.web")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
