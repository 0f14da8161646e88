"""A configuration as a TOML file: Python's own library reads TOML and does not write it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def to_toml(values: Mapping[str, Any]) -> str:
    """Writes tables as TOML, so that `tomllib` reads the same values.

    Args:
        values: Texts, numbers, booleans, lists of these, and tables of all of them.

    >>> print(to_toml({"data": {"path": "x"}, "a": {"b": {"max": 0.5}}}), end="")
    [data]
    path = "x"
    <BLANKLINE>
    [a.b]
    max = 0.5
    """
    blocks = ["\n".join(block) for block in _blocks(values, ())]
    return "\n\n".join(blocks) + "\n" if blocks else ""


def _blocks(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[list[str]]:
    """The lines of a table, then those of the tables in it."""
    tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if key not in tables]
    if path and (lines or not tables):
        lines.insert(0, f"[{'.'.join(map(_key, path))}]")
    if lines:
        yield lines
    for key, value in tables.items():
        yield from _blocks(value, (*path, key))


def _key(key: str) -> str:
    return key if _BARE_KEY.fullmatch(key) else _text(key)


def _value(value: Any) -> str:
    match value:
        case str():
            return _text(value)
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case Mapping():  # in a list
            return f"{{{', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items())}}}"
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
    # A date is the only other kind there is in TOML; its own form is the one of TOML.
    return str(value)


def _text(text: str) -> str:
    """JSON's form of a string is TOML's, but for this one character."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
