"""The files of the pages: templates, one style and one script; all of it ends in the page."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from modules.report.numbers import page_number, signed
from modules.runtime import shown

if TYPE_CHECKING:
    import jinja2

PAGE_FOLDER = Path(__file__).parent / "page"
# Signs that would end the element of a script, or its line.
_IN_SCRIPT = {ord(c): f"\\u{ord(c):04x}" for c in "<>&\u2028\u2029"}


def render(template: str, script: str | None = None, **values: Any) -> str:
    """Fills a template; every text is escaped.

    Args:
        template: Name of a file in `PAGE_FOLDER`.
        script: Name of the page's script. Nothing else in the page can run: its policy names the
            hash of this one.
        values: For the template.
    """
    code = _text(script) if script else ""
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_text("report.css")),
            script=Markup(code),
            script_hash=base64.b64encode(hashlib.sha256(code.encode()).digest()).decode(),
            **values,
        )
    )


def in_script(value: Any) -> Markup:
    """JSON that can stand in an element `script`."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return Markup(text.translate(_IN_SCRIPT))


@cache
def _environment() -> jinja2.Environment:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE_FOLDER),
        autoescape=lambda name: not (name or "").endswith(".md"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {"number": page_number, "signed": signed, "shown": shown}
    return environment


@cache
def _text(name: str) -> str:
    return (PAGE_FOLDER / name).read_text(encoding="utf-8")
