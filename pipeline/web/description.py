"""The page `/docs`: what OpenAPI says of the requests, without a script."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}: requests</title>
<link rel="stylesheet" href="style.css">
</head>
<body>
<main class="text">
<h1>{title}: requests</h1>
<p>{about} The same for programs: <a href="openapi.json">openapi.json</a>. <a href="./">The page to
try it</a>.</p>
{requests}
</main>
</body>
</html>
"""
_CURL = {
    "/embed": "curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' URL/embed",
    "/search": "curl -F images=@one.jpg -F images=@two.jpg 'URL/search?k=5'",
    "/verify": "curl -F a=@one.jpg -F b=@two.jpg URL/verify",
    "/version": "curl URL/version",
}


def description_page(openapi: dict[str, Any]) -> str:
    """One HTML page.

    Args:
        openapi: The description of the application.
    """
    described = [
        _request(method, path, operation, openapi)
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    ]
    return _PAGE.format(
        title=html.escape(openapi["info"]["title"]),
        about=html.escape(openapi["info"]["description"]),
        requests="\n".join(described),
    )


def _request(method: str, path: str, operation: dict[str, Any], openapi: dict[str, Any]) -> str:
    rows = [*_parameters(operation), *_body(operation), *_answers(operation, openapi)]
    cells = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(text)}</td></tr>" for name, text in rows
    )
    example = f"<pre>{html.escape(_CURL[path])}</pre>" if path in _CURL else ""
    return (
        f"<section><h2><code>{method.upper()} {html.escape(path)}</code></h2>"
        f"<p>{html.escape(operation.get('description', ''))}</p>{example}"
        f"<table>{cells}</table></section>"
    )


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", ()):
        schema = parameter["schema"]
        schema = schema.get("anyOf", [schema])[0]  # the other one is null
        bounds = [f"{word} {schema[key]}" for key, word in
                  (("minimum", "from"), ("maximum", "to"), ("default", "default"))
                  if key in schema]  # fmt: skip
        text = f"{parameter.get('description', '')} {schema['type']}, {', '.join(bounds)}"
        yield f"?{parameter['name']}=", text.strip(", ")


def _body(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    content = operation.get("requestBody", {}).get("content", {})
    alone = [kind for kind, body in content.items() if "properties" not in body["schema"]]
    if alone:
        yield "body", f"one image as it is: {', '.join(alone)}"
    for kind in content.keys() - set(alone):
        yield "or a form" if alone else "form", f"{kind}: files {', '.join(_fields(content[kind]))}"


def _fields(body: dict[str, Any]) -> Iterator[str]:
    for name, schema in body["schema"]["properties"].items():
        yield f"{name} (any number)" if schema["type"] == "array" else name


def _answers(operation: dict[str, Any], openapi: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for status, answer in operation["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        text = answer["description"].replace("Successful Response", "")
        yield status, f"{text} {_form(schema, openapi)}".strip() or "text"


def _form(schema: dict[str, Any], openapi: dict[str, Any]) -> str:
    """The names in a JSON answer, as deep as they go."""
    if "anyOf" in schema:
        schema = schema["anyOf"][0]
    if "$ref" in schema:
        schema = openapi["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if schema.get("type") == "array":
        # A tuple has no items, but what each of its places holds.
        return f"[{_form(schema.get('items', {}), openapi)} …]".replace("[ …]", "[…]")
    named = {name: _form(part, openapi) for name, part in schema.get("properties", {}).items()}
    inside = (f"{name}: {form}" if form else name for name, form in named.items())
    return f"{{{', '.join(inside)}}}" if named else ""
