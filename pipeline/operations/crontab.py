"""The entry of a pipeline in the crontab of this user; see crontab(5)."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Sequence

from pipeline.config import PROJECT
from pipeline.runtime import ConfigError, ProgramError, call_program, require_program

# Minute, hour, day of the month, month, day of the week.
_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_PART = re.compile(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?")


def cron_line(when: str, command: Sequence[str]) -> str:
    """Writes a line of a crontab that runs a command in the project folder.

    Args:
        when: Five fields: minute, hour, day of the month, month, day of the week, as numbers,
            ranges, lists and steps.
        command: Program and arguments.

    Raises:
        ConfigError: `when` is not of this form.
    """
    fields = when.split()
    if len(fields) != len(_CRON_RANGES) or not all(map(_fits, fields, _CRON_RANGES)):
        raise ConfigError(
            f"--cron is {when!r}, expected five fields: minute (0-59), hour (0-23), day of the "
            "month (1-31), month (1-12) and day of the week (0-7), such as '30 2 * * *'."
        )
    shell = f"cd {shlex.quote(str(PROJECT))} && nice -n 10 {shlex.join(command)}"
    return f"{' '.join(fields)} {shell}".replace("%", "\\%")  # else cron ends the line there


def _fits(field: str, limits: tuple[int, int]) -> bool:
    for part in field.split(","):
        match = _CRON_PART.fullmatch(part)
        if not match:
            return False
        first, last = (int(n) if n else None for n in match.group(1, 2))
        if first is not None and not limits[0] <= first <= (last or first) <= limits[1]:
            return False
        if last is not None and first is not None and not first <= last <= limits[1]:
            return False
    return True


def install_entry(name: str, line: str) -> None:
    """Puts the entry of a pipeline into the crontab of this user, in place of an earlier one.

    Args:
        name: The pipeline.
        line: See `cron_line`.

    Raises:
        ProgramError: There is no cron, or it fails.
    """
    _write_crontab(with_entry(_read_crontab(), name, line))


def remove_entry(name: str) -> bool:
    """Removes the entry of a pipeline from the crontab of this user.

    Returns:
        Whether there was one.

    Raises:
        ProgramError: cron fails.
    """
    if not shutil.which("crontab"):
        return False
    before = _read_crontab()
    after = with_entry(before, name, None)
    if after == before:
        return False
    _write_crontab(after)
    return True


def with_entry(crontab: str, name: str, line: str | None) -> str:
    """Puts the entry of a pipeline into the text of a crontab, in place of an earlier one.

    Args:
        crontab: All of it; the lines of others stay as they are.
        name: The pipeline, for the comments around the entry.
        line: The entry; None to remove it.
    """
    begin, end = f"# triplet-pipeline {name}: begin", f"# triplet-pipeline {name}: end"
    block = re.compile(rf"^{re.escape(begin)}\n.*?^{re.escape(end)}\n", re.MULTILINE | re.DOTALL)
    rest = block.sub("", crontab)
    if line is None:
        return rest
    if rest and not rest.endswith("\n"):
        rest += "\n"
    return f"{rest}{begin}\n{line}\n{end}\n"


def _read_crontab() -> str:
    require_program("crontab", "Install cron, or use --at for a systemd timer.")
    answer = call_program(["crontab", "-l"])
    if answer.returncode and "no crontab" not in answer.stderr:
        raise ProgramError(f"`crontab -l` failed: {answer.stderr.strip()}.")
    return answer.stdout if not answer.returncode else ""


def _write_crontab(text: str) -> None:
    answer = call_program(["crontab", "-"], text)
    if answer.returncode:
        raise ProgramError(
            f"`crontab -` failed: {answer.stderr.strip()}. The crontab is unchanged."
        )
