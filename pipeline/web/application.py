"""The requests that the web application answers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from pipeline.served import VersionError
from pipeline.web.answers import (
    About,
    Embeddings,
    Fault,
    SearchResults,
    Verification,
    about,
    embeddings,
    search_results,
    verification,
)
from pipeline.web.batching import Batcher, OverloadedError
from pipeline.web.bodies import RefusedError, body_schema, read_pair, read_uploads
from pipeline.web.current import CurrentVersion, NoVersionError
from pipeline.web.description import description_page
from pipeline.web.limits import BodyLimit, LocalHosts, Rates, SafeHeaders, refuse
from pipeline.web.metrics import Metrics
from pipeline.web.web_settings import WebSettings

_PAGE = Path(__file__).parent / "page"
_FILES = {"/": "index.html", "/style.css": "style.css", "/page.js": "page.js"}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    status: {"model": Fault, "description": text}
    for status, text in (
        (413, "The body is too large."),
        (422, "No image could be used."),
        (429, "Too many requests of this client."),
        (503, "No version is there, it has no index, or too much waits."),
    )
}


def make_application(current: CurrentVersion, settings: WebSettings) -> ASGIApp:
    """Builds the application.

    Args:
        current: What answers; its watching is up to the caller.
        settings: Limits.
    """
    metrics = Metrics(current)
    batcher = Batcher(current.get, settings.batch, settings.waiting, metrics.batch.observe)
    metrics.watch_waiting(lambda: batcher.waiting)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        tasks = [
            asyncio.create_task(batcher.run()),
            asyncio.create_task(current.watch(settings.poll)),
        ]
        yield
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    app = FastAPI(
        title="Visual search",
        description="Embeddings and nearest neighbours of images, by the version that is served. "
        "Every answer comes from one version, and names it.",
        version="1",
        docs_url=None,  # FastAPI's pages load scripts of another host
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_requests(app, current, batcher, settings)
    _add_looks(app, current, metrics)
    _add_errors(app)
    paths = frozenset(route.path for route in app.routes if hasattr(route, "path"))
    inner: ASGIApp = BodyLimit(app, int(settings.max_megabytes * 1e6), settings.patience)
    if settings.rate:
        inner = Rates(inner, settings.rate)
    if settings.is_local:
        inner = LocalHosts(inner)
    return SafeHeaders(metrics.around(inner, paths))


def _add_requests(
    app: FastAPI, current: CurrentVersion, batcher: Batcher, settings: WebSettings
) -> None:
    # As defaults: FastAPI looks up annotations outside of this function.
    neighbours = Query(10, ge=1, le=settings.max_k, description="Neighbours of an image.")
    with_pictures = Query(False, description="Small pictures of the neighbours too.")
    given = Query(None, ge=0, description="Squared distance, in place of the calibrated one.")

    @app.post("/embed", responses=_REFUSALS, openapi_extra={"requestBody": body_schema()})
    async def embed(request: Request) -> Embeddings:
        """Embeds images: the vector of each, of length 1."""
        uploads = await read_uploads(request, settings.max_images)
        answer = await batcher.ask([upload.content for upload in uploads])
        return _unless_all_failed(embeddings(uploads, answer))

    @app.post("/search", responses=_REFUSALS, openapi_extra={"requestBody": body_schema()})
    async def search(
        request: Request, k: int = neighbours, pictures: bool = with_pictures
    ) -> SearchResults:
        """Finds the nearest images of the gallery to each image."""
        uploads = await read_uploads(request, settings.max_images)
        answer = await batcher.ask([upload.content for upload in uploads], k)
        found = await asyncio.to_thread(search_results, uploads, answer, pictures)
        return _unless_all_failed(found)

    @app.post("/verify", responses=_REFUSALS, openapi_extra={"requestBody": body_schema("a", "b")})
    async def verify(request: Request, threshold: float | None = given) -> Verification:
        """Tells whether two images show the same, at the threshold calibrated with the model."""
        uploads = await read_pair(request, "a", "b")
        answer = await batcher.ask([upload.content for upload in uploads])
        return verification(uploads, answer, threshold)

    @app.get("/version", responses={503: _REFUSALS[503]})
    async def version() -> About:
        """Describes the version that answers."""
        return await asyncio.to_thread(about, current.get())


def _unless_all_failed(answer: Any) -> Any:
    """An answer in which no image could be used is an error."""
    if all(result.error for result in answer.results):
        raise RefusedError(422, answer.results[0].error)
    return answer


def _add_looks(app: FastAPI, current: CurrentVersion, metrics: Metrics) -> None:
    """The page, the description, and what a cluster asks."""
    for path, name in _FILES.items():
        app.add_api_route(path, _file(name), include_in_schema=False, response_class=FileResponse)

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(description_page(app.openapi()))

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> dict[str, str]:
        """Answers while the process lives."""
        return {"status": "alive"}

    @app.get("/readyz", tags=["operation"], responses={503: {"model": Fault}})
    async def readyz() -> dict[str, str]:
        """Answers 200 once there is a version to answer with."""
        return {"status": "ready", "version": current.get().name}

    @app.get("/metrics", tags=["operation"], response_class=Response)
    async def prometheus() -> Response:
        """Counters and times, as Prometheus reads them."""
        return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def _file(name: str) -> Any:
    async def send() -> FileResponse:
        return FileResponse(_PAGE / name, headers={"Cache-Control": "no-cache"})

    return send


def _add_errors(app: FastAPI) -> None:
    """Every error is JSON of one form."""

    def handler(status: int) -> Any:
        async def answer(_: Request, error: Exception) -> JSONResponse:
            headers = {"Retry_After": "1"} if isinstance(error, OverloadedError) else {}
            return refuse(status, str(error), **headers)

        return answer

    for kind in (OverloadedError, NoVersionError, VersionError):
        app.add_exception_handler(kind, handler(503))

    @app.exception_handler(Exception)
    async def failed(_: Request, __: Exception) -> JSONResponse:
        return refuse(500, "The request failed; the log of the server says why.")

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JSONResponse:
        return refuse(error.status_code, str(error.detail), **dict(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        faults = (f"{fault['loc'][-1]}: {fault['msg']}" for fault in error.errors())
        return refuse(422, "; ".join(faults))
