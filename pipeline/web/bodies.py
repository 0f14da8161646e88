"""The images in the body of a request: one file as it is, or a form with several."""

from __future__ import annotations

from typing import Any, NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request

_FORM = "multipart/form-data"
_FILE = {"type": "string", "format": "binary"}


class Upload(NamedTuple):
    """An image that was sent: its name, empty if it came without one, and its content."""

    name: str
    content: bytes


class RefusedError(HTTPException):
    """A request that cannot be answered; `detail` says why and what to do."""


def body_schema(*fields: str) -> dict[str, Any]:
    """What OpenAPI says of the body.

    Args:
        fields: Files that a form must have; none: one image, or a form with any number of files
            called `images`.
    """
    if fields:
        form = {"type": "object", "properties": dict.fromkeys(fields, _FILE),
                "required": list(fields)}  # fmt: skip
        return {"required": True, "content": {_FORM: {"schema": form}}}
    several = {"images": {"type": "array", "items": _FILE}}
    form = {"type": "object", "properties": several, "required": ["images"]}
    kinds = ("image/jpeg", "image/png", "image/webp", "image/bmp", "image/gif")
    alone = {kind: {"schema": _FILE} for kind in (*kinds, "application/octet-stream")}
    return {"required": True, "content": {_FORM: {"schema": form}, **alone}}


async def read_uploads(request: Request, most: int) -> list[Upload]:
    """Reads the images of a request.

    Raises:
        RefusedError: There is none, there are too many, or the body is no form.
    """
    if not request.headers.get("content-type", "").startswith(_FORM):
        content = await request.body()
        if not content:
            raise RefusedError(422, "The body is empty. Send an image file, or a form of files.")
        return [Upload("", content)]
    async with await _form(request, most) as form:
        files = [one for _, one in form.multi_items() if isinstance(one, UploadFile)]
        uploads = [Upload(file.filename or "", await file.read()) for file in files]
    if not uploads:
        raise RefusedError(422, "The form has no file. Send each image as a file called images.")
    return uploads


async def read_pair(request: Request, *names: str) -> list[Upload]:
    """Reads the files of a form that have these names.

    Raises:
        RefusedError: One is missing, or the body is no form.
    """
    if not request.headers.get("content-type", "").startswith(_FORM):
        raise RefusedError(415, f"Send a form with the files {' and '.join(names)}.")
    async with await _form(request, len(names)) as form:
        files = [form.get(name) for name in names]
        missing = [n for n, f in zip(names, files, strict=True) if not isinstance(f, UploadFile)]
        if missing:
            raise RefusedError(422, f"The form has no file {' and no file '.join(missing)}.")
        return [
            Upload(file.filename or name, await file.read())
            for name, file in zip(names, files, strict=True)
            if isinstance(file, UploadFile)
        ]


async def _form(request: Request, most: int) -> Any:
    """The form, as a context that removes what was put on the disk."""
    try:
        # Read before, so that only parsing is left, and its errors are errors of the form.
        await request.body()
        parsed: FormData = await request.form(max_files=most, max_fields=most)
    except (MultiPartException, HTTPException) as error:
        text = str(getattr(error, "message", None) or getattr(error, "detail", error))
        text += f" At most {most} images may come at once." if "files" in text.lower() else ""
        raise RefusedError(422, text) from error
    return _Closing(parsed)


class _Closing:
    def __init__(self, form: FormData) -> None:
        self._form = form

    async def __aenter__(self) -> FormData:
        return self._form

    async def __aexit__(self, *_: object) -> None:
        await self._form.close()
