"""A real Chromium without a window, driven by the plain HTTP of the WebDriver standard."""

from __future__ import annotations

import base64
import contextlib
import json
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
MISSING = "" if CHROMIUM and DRIVER else "there is no Chromium with its chromedriver here"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # as the standard names a reference
TAB, ENTER, DOWN = "\ue004", "\ue007", "\ue015"


class Browser:
    """One window.

    Source: W3C WebDriver; `goog/cdp` is Chromium's way to its own protocol.
    """

    def __init__(self, client: httpx.Client, session: str) -> None:
        self._client, self._session = client, session

    def _ask(self, path: str, body: dict[str, Any] | None = None) -> Any:
        url = f"/session/{self._session}/{path}"
        answer = self._client.get(url) if body is None else self._client.post(url, json=body)
        value = answer.json()["value"]
        assert answer.status_code == 200, value
        return value

    def open(self, url: str) -> None:
        self._ask("url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """Runs a script in the page; `return` gives its value."""
        return self._ask("execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        return self.run("return document.querySelector(arguments[0]).innerText", selector)

    def count(self, selector: str) -> int:
        return self.run("return document.querySelectorAll(arguments[0]).length", selector)

    def choose_file(self, selector: str, path: Path) -> None:
        """What a person does in the window of the system."""
        found = self._ask("element", {"using": "css selector", "value": selector})
        self._ask(f"element/{found[_ELEMENT]}/value", {"text": str(path)})

    def press(self, *keys: str) -> None:
        """Presses and lets go each key, whatever has the focus."""
        actions = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def wait(self, ready: Callable[[], Any], seconds: float = 15) -> Any:
        """Waits until something holds; an assertion if it never does."""
        deadline = time.monotonic() + seconds
        while not (value := ready()):
            assert time.monotonic() < deadline, "it never came"
            time.sleep(0.05)
        return value

    def be(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Takes the size and the colours of a device, and a finger in place of a mouse."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self._cdp("Emulation.setDeviceMetricsOverride", **size)
        self._cdp("Emulation.setTouchEmulationEnabled", enabled=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._cdp("Emulation.setEmulatedMedia", features=[scheme])

    def _cdp(self, command: str, **parameters: Any) -> Any:
        return self._ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def screenshot(self, path: Path) -> None:
        whole = self._cdp("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(whole["data"]))

    def requests(self) -> list[str]:
        """Every address that the pages have asked for since the last call."""
        entries = [
            json.loads(one["message"])["message"]
            for one in self._ask("se/log", {"type": "performance"})
        ]
        return [
            entry["params"]["request"]["url"]
            for entry in entries
            if entry["method"] == "Network.requestWillBeSent"
        ]

    def errors(self) -> list[str]:
        """What the console has complained of, such as a breach of the policy of the page."""
        return [one["message"] for one in self._ask("se/log", {"type": "browser"})]


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Starts Chromium and ends it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    driver = subprocess.Popen([str(DRIVER), f"--port={port}"], stdout=subprocess.DEVNULL)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            _until_ready(client)
            flags = [
                "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                "--disable-component-update", "--disable-background-networking",
                "--no-first-run", "--window-size=1100,900",
            ]  # fmt: skip
            wanted = {
                "browserName": "chrome",
                "goog:chromeOptions": {"binary": CHROMIUM, "args": flags},
                "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
            }
            body = {"capabilities": {"alwaysMatch": wanted}}
            answer = client.post("/session", json=body).json()["value"]
            assert "sessionId" in answer, answer
            yield Browser(client, answer["sessionId"])
            client.delete(f"/session/{answer['sessionId']}")
    finally:
        driver.terminate()
        driver.wait()


def _until_ready(client: httpx.Client) -> None:
    for _ in range(200):
        with contextlib.suppress(httpx.TransportError):
            if client.get("/status").json()["value"]["ready"]:
                return
        time.sleep(0.05)
    raise AssertionError("chromedriver does not start")
