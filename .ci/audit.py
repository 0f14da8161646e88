"""Asks for known vulnerabilities of the locked packages; silence is no good answer.

`pip-audit` ends with 0 also when its service knows none of the packages, as many indexes serve no
vulnerabilities. Called by `make audit`. Only the standard library is used.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
FOUND, UNKNOWN = 1, 2  # exit codes
_SHOWN = 5


def verdict(report: dict[str, Any]) -> tuple[int, list[str]]:
    """What a report of `pip-audit --format json` comes to.

    Args:
        report: `dependencies`, each with `name`, and `version` and `vulns` or `skip_reason`.

    Returns:
        0, `FOUND` or `UNKNOWN`, and lines for people.
    """
    packages = report["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    lines = [
        f"{one['name']} {one['version']}: {flaw['id']}, mended in "
        f"{', '.join(flaw['fix_versions']) or 'no version yet'}"
        for one in packages
        for flaw in one.get("vulns", [])
    ]
    code = FOUND if lines else 0
    known = len(packages) - len(skipped)
    if skipped or not packages:
        more = ", …" if len(skipped) > _SHOWN else ""
        lines.append(
            f"audit: nothing is known of {len(skipped)} of {len(packages)} packages "
            f"({', '.join(skipped[:_SHOWN])}{more}): the index of packages that is reached here "
            "serves no vulnerabilities of them. Call it where one does, or ask OSV: "
            "make audit SERVICE=osv"
        )
        code = code or UNKNOWN
    if not code:
        lines.append(f"audit: no known vulnerabilities in {known} packages.")
    return code, lines


def main() -> int:
    """Runs `pip-audit` and prints its verdict; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    parser.add_argument("--python", default=sys.executable)
    arguments = parser.parse_args()
    uv = ROOT / ".venv" / "bin" / "uv"
    done = subprocess.run(
        [
            uv, "tool", "run", "--quiet", "--python", arguments.python, "--from", "pip-audit==2.*",
            "pip-audit", "--vulnerability-service", arguments.service, "--format", "json",
            "--progress-spinner", "off", "--requirement", ROOT / "requirements.txt",
            "--disable-pip", "--require-hashes",
        ],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip
    try:
        code, lines = verdict(json.loads(done.stdout))
    except (ValueError, KeyError):
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        code = UNKNOWN
        lines = [
            f"audit: pip-audit could not ask {arguments.service} ({said[-1][:300]}). Call it where "
            "the network reaches that service, or another: make audit SERVICE=pypi or SERVICE=osv"
        ]
    print("\n".join(lines), file=sys.stderr if code else sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
