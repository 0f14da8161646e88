"""The order of things: configuration, the chain of nodes, local runs, data preparation."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`pipeline.create_pipeline`, imported when first used: TFX takes ten seconds to import."""
    if name == "create_pipeline":
        from pipeline.definition import create_pipeline

        return create_pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
