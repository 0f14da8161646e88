"""Makes `tfx.components` load when something in it is used, not when it is merely passed by.

TFX's launcher needs one constant of `tfx.components.evaluator`, and Python imports the package
around it first: all components of TFX with TFMA, TFT and TFDV. That is a quarter of all modules
that a pod would load, and seconds of its start.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from typing import Any

_PACKAGE = "tfx.components"


class _LazyPackage(types.ModuleType):
    """A package whose own code runs when the first of its names is looked up."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        spec = self.__spec__
        assert spec is not None
        assert spec.loader is not None
        self.__class__ = types.ModuleType  # type: ignore[assignment]  # no longer lazy
        spec.loader.exec_module(self)
        return getattr(self, name)


def defer_components() -> None:
    """Takes effect if called before anything of `tfx.components` is imported."""
    if _PACKAGE in sys.modules:
        return
    import tfx

    spec = importlib.util.find_spec(_PACKAGE)
    assert spec is not None
    package = importlib.util.module_from_spec(spec)
    package.__class__ = _LazyPackage
    sys.modules[_PACKAGE] = package
    tfx.components = package
