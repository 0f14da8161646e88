"""What stands before the requests: sizes, rates, hosts, and headers that keep a page to itself."""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The page loads what this server sends, and nothing else; its pictures come inside the answers.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data: blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
_CLIENTS = 10_000  # whose rate is known at once
_BURST = 5.0  # seconds of requests that may come at once
_TOGETHER = 32  # bodies of the largest size that may be in memory at once


def refuse(status: int, text: str, **headers: str) -> JSONResponse:
    """An answer that says why there is none."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return JSONResponse({"error": text}, status, headers=names)


class SafeHeaders:
    """Adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, with_headers)


class LocalHosts:
    """Refuses other names than this machine's own, where it alone shall reach the server.

    A page of another host could otherwise give its own name this machine's address, and read the
    answers.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] == "http":
            host = Headers(scope=scope).get("host", "")
            name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
            if name not in _LOCAL:
                answer = refuse(421, "This server answers as localhost or 127.0.0.1 only.")
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


class Rates:
    """Refuses clients that ask more often than they may.

    Args:
        app: What is protected; only requests with a body count.
        rate: Requests a second of one address; five seconds' worth may come at once.
        now: A clock, in seconds.
    """

    def __init__(
        self, app: ASGIApp, rate: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._app, self._rate, self._now = app, rate, now
        self._burst = max(1.0, rate * _BURST)
        # Of each client: requests that it may send at once, and when that was so.
        self._left: collections.OrderedDict[str, tuple[float, float]] = collections.OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] == "http" and scope["method"] == "POST":
            client = (scope.get("client") or ("",))[0]
            wait = self.seconds_to_wait(client)
            if wait > 0:
                text = f"More than {self._rate:g} requests a second. Try again in {wait:.1f} s."
                await refuse(429, text, Retry_After=str(int(wait) + 1))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def seconds_to_wait(self, client: str) -> float:
        """0 if a request is allowed, which then counts; else how long until one is."""
        now = self._now()
        left, since = self._left.pop(client, (self._burst, now))
        left = min(self._burst, left + (now - since) * self._rate)
        allowed = left >= 1
        self._left[client] = (left - 1 if allowed else left, now)
        if len(self._left) > _CLIENTS:
            self._left.popitem(last=False)
        return 0.0 if allowed else (1 - left) / self._rate


class _GoneError(Exception):
    """The client has left before its body was whole."""


class _FullError(Exception):
    """All bodies together are too large."""


class BodyLimit:
    """Refuses bodies that are too large, alone or together, or that take too long to arrive.

    Args:
        app: What reads the bodies.
        most: Bytes.
        patience: Seconds for a whole body.
    """

    def __init__(self, app: ASGIApp, most: int, patience: float) -> None:
        self._app, self._most, self._patience = app, most, patience
        self._held = 0  # bytes in memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reads the body, then hands it on whole."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        body: list[bytes] = []
        try:
            async with asyncio.timeout(self._patience):
                refused = await self._read(scope, receive, body)
        except TimeoutError:
            refused = refuse(408, f"The body did not arrive within {self._patience:g} s.")
        except _FullError:
            refused = refuse(503, "Too many large requests at once. Try again.", Retry_After="1")
        except _GoneError:
            return
        try:
            if refused:
                refused.headers["Connection"] = "close"
                await refused(scope, receive, send)
            else:
                await self._hand_on(b"".join(body), scope, receive, send)
        finally:
            self._held -= sum(map(len, body))

    async def _hand_on(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        handed = False

        async def whole() -> Message:
            nonlocal handed
            if handed:
                return await receive()  # tells when the client goes
            handed = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, whole, send)

    async def _read(self, scope: Scope, receive: Receive, body: list[bytes]) -> JSONResponse | None:
        """Reads the body, if it is small enough; else says so.

        What is too large is read to its end all the same, if that is near: a client that still
        sends when the connection is closed may never see the answer.
        """
        declared = Headers(scope=scope).get("content-length", "")
        too_large = declared.isdigit() and int(declared) > self._most
        size, more = 0, True
        while more and size <= 4 * self._most:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            piece = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(piece)
            too_large |= size > self._most
            if too_large:
                self._held -= sum(map(len, body))
                body.clear()
                continue
            self._held += len(piece)
            body.append(piece)
            if self._held > _TOGETHER * self._most:
                raise _FullError
        if not too_large:
            return None
        return refuse(
            413, f"The body is larger than {self._most / 1e6:g} MB. Send smaller or fewer images."
        )
