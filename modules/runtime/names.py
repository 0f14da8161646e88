"""Names from the data, such as those of classes and files, as people may see them."""

from __future__ import annotations

_LONGEST = 200  # characters


def shown(name: str | bytes, most: int = _LONGEST) -> str:
    r"""Escapes what would break or colour a line of text, and shortens what is too long.

    For terminals, logs, reports and pictures. A markup language, as of rich or matplotlib, has
    signs of its own: switch it off or escape it besides.

    Args:
        name: Text, or bytes that should be UTF-8.
        most: The most characters.

    Example:
        >>> shown(b"caf\xc3\xa9 \x1b[31m \xff")
        'café \\x1b[31m \\xff'
        >>> shown("x" * 1500, 5)
        'xxxx…'
    """
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    text = text[: most - 1] + "…" if len(text) > most else text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def printable(text: str) -> str:
    r"""Escapes the control characters of a text of any length, but for its line ends and tabs.

    Example:
        >>> printable("one\ntwo \x1b]0;title\x07")
        'one\ntwo \\x1b]0;title\\x07'
    """
    return "".join(c if c.isprintable() or c in "\n\t" else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape", "surrogatepass").decode()
