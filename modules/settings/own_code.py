"""Names in a user's own modules: `package.module:Name`."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from typing import Any


def is_own(name: str) -> bool:
    """Whether a name is an import path and not one of this project's choices."""
    return ":" in name


def module_of(path: str) -> str:
    """`mine.losses` of `mine.losses:MyLoss`."""
    return path.partition(":")[0]


def load_own(path: str) -> Callable[..., Any]:
    """Imports what an import path names.

    Args:
        path: `package.module:Name`.

    Returns:
        The class or function.

    Raises:
        ValueError: There is no such module, it cannot be imported, or it lacks the name; the
            message says what to do.
    """
    module, _, name = path.partition(":")
    if not (name.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        raise ValueError("an import path is written 'package.module:Name'")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"there is no module {error.name!r}; start in the folder that holds it, or put that "
            "folder on PYTHONPATH"
        ) from error
    except Exception as error:
        raise ValueError(
            f"importing {module} failed with {type(error).__name__}: {error}"
        ) from error
    if not hasattr(found, name):
        public = [each for each in vars(found) if not each.startswith("_")]
        raise ValueError(f"module {module} has no {name}, only {', '.join(public) or 'nothing'}")
    own = getattr(found, name)
    if not callable(own):
        raise ValueError(f"{path} is no class or function but {type(own).__name__}")
    return own


def check_call(path: str, own: Callable[..., Any], *given: object, **named: object) -> None:
    """Sees whether something can be called like this, without calling it.

    Raises:
        ValueError: Its parameters are others; the message shows them.
    """
    try:
        signature = inspect.signature(own)
    except (TypeError, ValueError):  # written in C: only the call can tell
        return
    try:
        signature.bind(*given, **named)
    except TypeError as error:
        raise ValueError(f"{path} takes {signature}: {error}") from error


def check_own_loss(path: str, options: Mapping[str, object]) -> None:
    """Sees whether a loss can be made with its options.

    Raises:
        ValueError: It is no class, or it takes other options.
    """
    own = load_own(path)
    if not inspect.isclass(own):
        raise ValueError(f"{path} must be a class that is made with loss_options, not {own!r}")
    try:
        check_call(path, own, **options)
    except ValueError as error:
        raise ValueError(f"loss_options do not fit: {error}") from error
