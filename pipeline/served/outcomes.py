"""What the exit code of the commands on a served version says."""

from __future__ import annotations

import enum


class Outcome(enum.IntEnum):
    """Exit codes of `search`, `embed`, `verify` and `cluster`.

    1 and 2 are those of every command: it failed, and the command line is wrong.
    """

    DONE = 0
    LEFT_OUT = 3
    DIFFERENT = 5

    @property
    def meaning(self) -> str:
        """What it says, in a few words."""
        return {
            Outcome.DONE: "all was done",
            Outcome.LEFT_OUT: "some images could not be used; they are named, the others are done",
            Outcome.DIFFERENT: "the two images do not show the same",
        }[self]


def outcome_help(*outcomes: Outcome) -> str:
    """The table for `--help`; click keeps its lines as they are."""
    lines = {int(outcome): outcome.meaning for outcome in outcomes}
    lines[1] = "the version cannot be used"
    lines[2] = "the configuration or the command line is wrong, or there is no version yet"
    table = "\n".join(f"  {code:>2}  {lines[code]}" for code in sorted(lines))
    return f"\b\nExit codes:\n{table}"
