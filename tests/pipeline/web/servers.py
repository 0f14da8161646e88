"""The web application behind a real socket, in a thread of the test."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn

from modules.settings import MAX_PIXELS
from pipeline.web import CurrentVersion, WebSettings, server_config


@contextlib.contextmanager
def serving(folder: Path, *, max_pixels: int = MAX_PIXELS, **settings: Any) -> Iterator[str]:
    """Yields the address of a server that answers with the newest version in a folder."""
    current = CurrentVersion(str(folder), max_pixels)
    current.look()
    server = uvicorn.Server(server_config(current, WebSettings(port=0, **settings)))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join()
