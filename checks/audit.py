"""Known vulnerabilities of the tested versions: ``python -m checks.audit`` (`make audit`), which needs a network.

pip-audit asks the index for each version in constraints.txt. Where the index cannot be asked, that is said, and is no
success: exit code 3, after 1 for what was found and 0 for nothing.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parents[1] / "constraints.txt"
COMMAND = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--requirement")
FOUND, UNKNOWN = 1, 3
LIMIT_S = 600


def main() -> int:
    """Ask, and say what was found."""
    program = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if program is None:
        print("pip-audit is not installed: make audit installs it into an environment of its own.")
        return UNKNOWN
    try:
        done = subprocess.run(
            [program, *COMMAND, str(CONSTRAINTS)], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        packages = json.loads(done.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        return _unreachable(f"no answer within {LIMIT_S} s")
    except (ValueError, KeyError):
        return _unreachable((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return told(packages)


def told(packages: Sequence[Mapping[str, Any]]) -> int:
    """Print what was found of packages, as pip-audit's JSON has them; return the exit code."""
    skipped = [one for one in packages if "skip_reason" in one]
    if len(skipped) == len(packages):
        return _unreachable(skipped[0]["skip_reason"] if skipped else "there are no packages to ask for")
    vulnerable = [one for one in packages if one.get("vulns")]
    for one in vulnerable:
        for known in one["vulns"]:
            cure = f"mended in {', '.join(known['fix_versions'])}" if known.get("fix_versions") else "not mended yet"
            print(f"{one['name']} {one['version']}: {known['id']}, {cure}")
    print(f"{len(packages) - len(skipped)} packages asked for, {len(vulnerable)} of them with known vulnerabilities.")
    if skipped:
        print(f"Not known there: {', '.join(one['name'] for one in skipped)}.")
    return FOUND if vulnerable else 0


def _unreachable(reason: str) -> int:
    print(f"The database of known vulnerabilities cannot be reached from here ({reason}): nothing was checked.")
    return UNKNOWN


if __name__ == "__main__":
    sys.exit(main())
