"""Names as people may see them."""

from __future__ import annotations

import os

from hypothesis import given, strategies as st

from modules.runtime import shown


@given(st.one_of(st.binary(), st.text(st.characters(codec=None))))
def test_a_line_of_text_stays_one_and_can_be_printed(name: str | bytes) -> None:
    text = shown(name, 50)
    assert text.isprintable()
    text.encode()


def test_known_names() -> None:
    assert shown("Größe 一 [a]") == "Größe 一 [a]"
    assert shown(os.fsdecode(b"a\xff")) == shown(b"a\xff") == "a\\xff"
    assert shown("a\nb\t\x1b[31m") == "a\\nb\\t\\x1b[31m"
    assert shown("\u202eabc") == "\\u202eabc"  # would turn the line around
    assert shown("x" * 1500) == "x" * 199 + "…"
