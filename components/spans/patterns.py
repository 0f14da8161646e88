"""Patterns of input files that tell spans apart: `{SPAN}`, `{YYYY}`, `{MM}`, `{DD}`, `{VERSION}`.

The notation is TFX's (`tfx.components.example_gen.utils`): a span is a non-negative number, or a
date, which counts as its days since 1970-01-01. `{SPAN:3}` and `{VERSION:2}` are filled up with
zeros to that width; without a width there are none. Nothing here loads TFX.
"""

from __future__ import annotations

import dataclasses
import datetime
import re

_EPOCH = datetime.date(1970, 1, 1)
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NUMBER = re.compile(r"(SPAN|VERSION)(?::([1-9]\d*))?")
_DATE = {"YYYY": 4, "MM": 2, "DD": 2}
# Parts of a glob: what stays as it is, and what a regular expression writes otherwise.
_GLOB_PART = re.compile(r"(\*|\?|\[[^\]]+\])")
_GLOB_REGEX = {"*": "[^/]*", "?": "[^/]"}


def date_to_span(date: datetime.date) -> int:
    """The span of a day: days since 1970-01-01."""
    return (date - _EPOCH).days


@dataclasses.dataclass(frozen=True)
class SpanPattern:
    """One glob pattern, and what of it stands for span and version.

    Attributes:
        pattern: The pattern as it was given.
        names: The placeholders in it, without widths, in order.
    """

    pattern: str
    names: tuple[str, ...]

    @classmethod
    def parse(cls, pattern: str) -> SpanPattern:
        """Reads a pattern.

        Raises:
            ValueError: An unknown placeholder, one that occurs twice, a date that is not complete,
                both a number and a date, or a version without a span.
        """
        names = []
        for text in _PLACEHOLDER.findall(pattern):
            number = _NUMBER.fullmatch(text)
            if not number and text not in _DATE:
                raise ValueError(
                    f"the pattern {pattern!r} has the unknown placeholder {{{text}}}, expected "
                    "{SPAN}, {SPAN:width}, {VERSION}, {VERSION:width}, {YYYY}, {MM} or {DD}"
                )
            names.append(number[1] if number else text)
        if len(set(names)) < len(names):
            raise ValueError(f"a placeholder occurs more than once in the pattern {pattern!r}")
        dates = set(names) & set(_DATE)
        if dates and len(dates) < len(_DATE):
            raise ValueError(
                f"the pattern {pattern!r} has a date that is not complete, expected each of "
                "{YYYY}, {MM} and {DD}"
            )
        if dates and "SPAN" in names:
            raise ValueError(f"the pattern {pattern!r} has both {{SPAN}} and a date, expected one")
        if "VERSION" in names and not (dates or "SPAN" in names):
            raise ValueError(
                f"the pattern {pattern!r} has a {{VERSION}} of nothing, expected {{SPAN}} or a "
                "date too"
            )
        return cls(pattern, tuple(names))

    @property
    def has_spans(self) -> bool:
        """Whether the pattern tells spans apart."""
        return bool(self.names)

    @property
    def has_dates(self) -> bool:
        """Whether the spans are days."""
        return "YYYY" in self.names

    @property
    def has_versions(self) -> bool:
        """Whether a span can be delivered again."""
        return "VERSION" in self.names

    @property
    def kind(self) -> frozenset[str]:
        """What the patterns of several splits must have in common."""
        return frozenset(self.names)

    @property
    def folders(self) -> str:
        """Glob up to and with the last path segment that holds a placeholder."""
        return _PLACEHOLDER.sub("*", self._head())

    @property
    def below(self) -> str:
        """Glob below what `folders` finds; empty if those are the files."""
        return self.pattern[len(self._head()) + 1 :]

    def find(self, path: str) -> tuple[int, int | None] | None:
        """Tells span and version of a path that the glob `folders` found.

        Returns:
            Span and version (None without `{VERSION}`); None if the path belongs to no span, such
            as `span-old` or, for `{SPAN}` without a width, `span-007`.
        """
        match = re.fullmatch(self._regex(), path)
        if match is None:
            return None
        version = int(match["VERSION"]) if self.has_versions else None
        if not self.has_dates:
            return int(match["SPAN"]), version
        try:
            day = datetime.date(*(int(match[name]) for name in _DATE))
        except ValueError:  # such as 2026-02-30
            return None
        return date_to_span(day), version

    def _head(self) -> str:
        """The pattern up to the last segment with a placeholder."""
        stop = self.pattern.rindex("}")
        return self.pattern[:stop] + self.pattern[stop:].partition("/")[0]

    def _regex(self) -> str:
        regex = ""
        # Odd parts are the texts of placeholders.
        for i, part in enumerate(_PLACEHOLDER.split(self._head())):
            if i % 2 == 0:
                regex += "".join(
                    _GLOB_REGEX.get(p, p if _GLOB_PART.fullmatch(p) else re.escape(p))
                    for p in _GLOB_PART.split(part)
                )
            elif part in _DATE:
                regex += f"(?P<{part}>[0-9]{{{_DATE[part]}}})"
            else:
                name, _, width = part.partition(":")
                digits = f"[0-9]{{{width}}}" if width else "(?:0|[1-9][0-9]*)"
                regex += f"(?P<{name}>{digits})"
        return regex
