"""Writes docs/configuration.md from the settings: `python -m pipeline.config.reference`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import click

from pipeline.config.loading import CONFIGS, Config

HEAD = """<!-- Written by `make docs` from the settings; edit those. -->
# Configuration

A configuration is a TOML file, or the name of a ready one ({ready}), given by `--config` or by
the environment variable `TRIPLET_CONFIG`. It is checked completely before the first node starts; an
unknown key, a wrong type or keys that do not fit together are reported with what is allowed.
Relative paths start at the project folder. Only `[pipeline] name` and `[data] path` are required.
"""
# What stands for a name that the user chooses, by the dictionary that it is a key of.
_CHOSEN = {"thresholds": "METRIC", "slice_thresholds": "FEATURE", "nodes": "NODE"}
# Keywords of JSON schema for the two ends of a range.
_LOWER = {"minimum": "at least {}", "exclusiveMinimum": "above {}"}
_UPPER = {"maximum": "at most {}", "exclusiveMaximum": "below {}"}
_TYPES = {
    "integer": "integer",
    "number": "number",
    "boolean": "`true` or `false`",
    "string": "text",
    "null": "",
}

Schema = dict[str, Any]


def reference() -> str:
    """The page: every table, every key with its values, its default and what it does."""
    schema = Config.model_json_schema()
    ready = ", ".join(f"`{path.stem}`" for path in sorted(CONFIGS.glob("*.toml")))
    parts = [HEAD.format(ready=ready)]
    for name, table in schema["properties"].items():
        parts += _table([name], _resolve(table, schema), schema)
    return "\n".join(parts)


def _table(
    path: list[str], table: Schema, schema: Schema, brackets: tuple[str, str] = ("[", "]")
) -> Iterator[str]:
    """A heading, the docstring of the settings, a row per key; then the tables inside."""
    yield f"{'#' * min(1 + len(path), 3)} `{'.'.join(path).join(brackets)}`\n"
    text = re.sub(r"^`\[.*?\]`: ", "", table["description"])
    yield f"{text[0].upper()}{text[1:]}\n"
    keys, inner, lists = [], [], []
    for name, value in table["properties"].items():
        target = _resolve(value, schema)
        if "properties" in target:
            inner.append(([*path, name], target))
        elif "properties" in (item := _resolve(target.get("items", {}), schema)):
            lists.append(([*path, name], item))
        elif _resolve(target.get("additionalProperties", {}), schema).get("type") == "object":
            # A dictionary of tables, and not of values of any kind.
            place = [*path, name]
            while "properties" not in target:
                place.append(_CHOSEN.get(place[-1], "METRIC"))
                target = _resolve(target["additionalProperties"], schema)
            if value.get("default"):
                yield f"Default of `{name}`: {_tables(value['default'], target)}.\n"
            inner.append((place, target))
        else:
            keys.append((name, value))
    if keys:
        yield "| key | values | default | what it is |"
        yield "|---|---|---|---|"
        required = table.get("required", [])
        for name, value in keys:
            default = "required" if name in required else _default(value.get("default"))
            meaning = value.get("description", "")
            yield f"| `{name}` | {_values(value, schema)} | {default} | {meaning} |"
        yield ""
    for place, target in inner:
        yield from _table(place, target, schema)
    for place, target in lists:
        yield from _table(place, target, schema, ("[[", "]]"))


def _resolve(value: Schema, schema: Schema) -> Schema:
    """Follows a `$ref`."""
    if "$ref" not in value:
        return value
    return schema["$defs"][value["$ref"].rpartition("/")[2]]


def _values(value: Schema, schema: Schema) -> str:
    """What a key takes, in words."""
    value = _resolve(value, schema)
    if "anyOf" in value:
        return " or ".join(filter(None, (_values(one, schema) for one in value["anyOf"])))
    if "enum" in value or "const" in value:
        return ", ".join(_code(one) for one in value.get("enum", [value.get("const")]))
    if value["type"] == "array":
        return f"list of: {_values(value['items'], schema)}"
    if value.get("format") == "date":
        return "day"
    if value["type"] == "object":
        return "table of your own keys"
    text = _TYPES[value["type"]]
    if "pattern" in value:
        text += f" like `{value['pattern']}`".replace("|", r"\|")
    ends = [
        words.format(f"{value[keyword]:g}")
        for keyword, words in {**_LOWER, **_UPPER}.items()
        if keyword in value
    ]
    return ", ".join([text, *ends])


def _default(value: Any) -> str:
    return "" if value is None else _code(value)


def _tables(tables: dict[str, dict[str, Any]], schema: Schema) -> str:
    """A dictionary of tables, without the keys that have the default of their schema."""
    defaults = {key: value.get("default") for key, value in schema["properties"].items()}
    lines = (
        f"`{name}` with "
        + ", ".join(f"`{key} = {value}`" for key, value in table.items() if value != defaults[key])
        for name, table in tables.items()
    )
    return "; ".join(lines)


def _code(value: Any) -> str:
    """A value as JSON and TOML write it."""
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    click.echo(reference(), nl=False)
