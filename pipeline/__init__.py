"""What runs and when: the chain of nodes, its configuration, the commands, what the metadata tells.

`definition.py` builds the chain, `config` reads and checks a TOML file, `datasets` prepares known
data, `commands` are what people type and `operations` what they do, `metadata` reads what happened,
`runtime` holds errors, lock and logs.

>>> from pipeline.config import load_config
>>> load_config("mnist-sample").pipeline.name
'mnist-sample'
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """`pipeline.create_pipeline`, imported when first used: TFX takes ten seconds to import."""
    if name == "create_pipeline":
        from pipeline.definition import create_pipeline

        return create_pipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
