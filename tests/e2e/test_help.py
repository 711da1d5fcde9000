"""`creditree --help` imports nothing heavy, which is what makes it instant (`benchmarks/start.py` has the seconds)."""

import subprocess
import sys

import pytest

from tests.e2e.command import ENVIRONMENT

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "pyarrow",
    "scipy",
    "matplotlib",
    "pydantic",
    "datasets",
    "numpy",
    "sympy",
    "math_verify",
)
HELP = "import sys; sys.argv = ['creditree', '--help']; from creditree.cli.main import run; run()"


def heavy_imports(code: str) -> set[str]:
    """Return the heavy packages that the code has imported when it ends."""
    listing = f"[m for m in {HEAVY!r} if m in sys.modules]"
    probe = f"import atexit, sys\natexit.register(lambda: print({listing}, file=sys.stderr))\n"
    done = subprocess.run(
        [sys.executable, "-c", probe + code], check=True, capture_output=True, text=True, env=ENVIRONMENT
    )
    return set(eval(done.stderr.strip().splitlines()[-1]))


def test_help_is_light() -> None:
    assert heavy_imports(HELP) == set()


@pytest.mark.parametrize("package", ["torch", "pydantic"])
def test_the_check_on_imports_can_fail(package: str) -> None:
    assert package in heavy_imports(f"import {package}\n" + HELP)


def test_help_names_every_command() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True, env=ENVIRONMENT)
    for command in (
        "quickstart",
        "train",
        "plan",
        "doctor",
        "eval",
        "monitor",
        "compare",
        "report",
        "view",
        "tree",
        "grade",
        "verify-audit",
        "methods",
        "show",
    ):
        assert command in done.stdout
