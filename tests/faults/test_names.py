"""Names that would speak to a terminal, to a log, to a unit file or to a crontab."""

from __future__ import annotations

import io
import logging
import os
import sys

import pytest
from hypothesis import given, strategies as st
from rich.table import Table

from modules.runtime import printable
from pipeline.commands.schedule import retrain_argv
from pipeline.operations.supervision import run_supervised
from pipeline.runtime import ConfigError, Terminal

COLOUR, TITLE, CLIPBOARD = "\x1b[31m", "\x1b]0;mine\x07", "\x1b]52;c;cm0gLXJm\x07"


@pytest.mark.parametrize("colours", [True, False])
def test_no_name_reaches_the_terminal_raw(colours: bool) -> None:
    out = io.StringIO()
    terminal = Terminal(file=out, force_terminal=colours, width=200)
    table = Table(title=f"of {TITLE}")
    table.add_column("class")
    for name in (COLOUR, CLIPBOARD, "\r\x08\x9b31m", "café"):
        table.add_row(f"x{name}y", style="bold red")
    terminal.print(table)
    terminal.print(f"plain {CLIPBOARD}", markup=False)
    printed = out.getvalue()
    for name in (COLOUR + "y", TITLE, CLIPBOARD, "\r", "\x08", "\x9b"):
        assert name not in printed
    assert "x\\x1b[31my" in printed
    assert "café" in printed
    assert ("\x1b[1;31m" in printed) == colours  # those of rich itself pass


@given(st.text())
def test_what_is_printable_is_kept_and_nothing_else(text: str) -> None:
    found = printable(text)
    assert all(c.isprintable() or c in "\n\t" for c in found)
    assert printable(found) == found
    if all(c.isprintable() or c in "\n\t" for c in text):
        assert found == text


def test_what_a_run_prints_goes_escaped_into_the_log() -> None:
    lines: list[str] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    log = logging.Logger("test")
    log.addHandler(Keeps())
    code = f"print({'class ' + CLIPBOARD!r})"
    assert run_supervised([sys.executable, "-c", code], os.environ, log, hours=1) == 0
    assert lines == ["class \\x1b]52;c;cm0gLXJm\\x07"]


@pytest.mark.parametrize("name", ["a\nb.toml", "a\tb.toml", "a\x1bb.toml"])
def test_no_path_breaks_a_unit_or_a_crontab(tmp_path, name: str) -> None:
    with pytest.raises(ConfigError, match="has a control character"):
        retrain_argv(tmp_path / name)
    assert retrain_argv(tmp_path / "é b.toml")[-1] == str(tmp_path / "é b.toml")
