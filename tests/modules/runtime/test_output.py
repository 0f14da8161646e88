"""Output of C code and of child processes is held back and filtered line by line."""

from __future__ import annotations

import os
import re
import subprocess

import pytest

from modules.runtime import held_back

CHATTER = re.compile(rb"chatter")


def write(*lines: str) -> None:
    """By the descriptor, as C does it, and by another process."""
    for line in lines:
        os.write(2, f"c {line}\n".encode())
        subprocess.run(["sh", "-c", f"echo child {line} >&2"], check=True)


def test_chatter_is_dropped_and_the_rest_comes_in_order(capfd) -> None:
    with held_back(2, CHATTER):
        write("chatter", "matters")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "c matters\nchild matters\n"
    write("after chatter")
    assert "after chatter" in capfd.readouterr().err


def test_nothing_is_dropped_when_the_block_fails(capfd) -> None:
    def fail() -> None:
        with held_back(2, CHATTER):
            write("chatter")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert capfd.readouterr().err == "c chatter\nchild chatter\n"
