"""Tables on terminals and in pipes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from modules.runtime import shown

if TYPE_CHECKING:
    from rich.table import Table


def print_whole(table: Table) -> None:
    """Prints a table; a pipe has no width that lines would have to be folded to."""
    from pipeline.runtime import Terminal

    console = Terminal(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, Terminal(width=10_000).measure(table).maximum)
    console.print(table)


def name_faults(faults: Mapping[str, str]) -> None:
    """Names images that could not be used, with the reasons, on stderr."""
    for path, fault in faults.items():
        click.echo(f"error: {shown(path)}: {shown(fault)}", err=True)
