"""`creditree --help` imports nothing heavy, which is what makes it instant (`benchmarks/start.py` has the seconds)."""

import subprocess
import sys
from pathlib import Path

import pytest

from creditree import __version__
from tests.e2e.command import ENVIRONMENT, creditree
from tests.stored_run import stored_run

HEAVY = (
    "torch",
    "transformers",
    "peft",
    "bitsandbytes",
    "pyarrow",
    "scipy",
    "matplotlib",
    "pydantic",
    "datasets",
    "numpy",
    "sympy",
    "math_verify",
)
LEARNING = {"torch", "transformers", "peft"}
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


def test_what_shows_a_run_loads_no_tensor_library(tmp_path: Path) -> None:
    run = str(stored_run(tmp_path / "run", steps=10, kept=(10,)))
    pictures = str(tmp_path / "pictures")
    commands = [["report", run, "--figures", pictures], ["tree", run], ["compare", run, run]]
    shown = f"""
import sys
from pathlib import Path
from urllib.request import urlopen
from creditree.cli.main import app
for command in {commands!r}:
    app(command, standalone_mode=False)
from creditree.view.server import serving
with serving(Path({run!r}), 0) as server:
    assert b"live" in urlopen(server.address).read()
"""
    assert not heavy_imports(shown) & LEARNING
    assert (tmp_path / "run" / "report.html").exists()
    assert list((tmp_path / "pictures").iterdir())


@pytest.mark.parametrize("command", ["train", "plan", "sweep"])
def test_a_path_that_is_wrong_is_said_before_anything_is_loaded(command: str, tmp_path: Path) -> None:
    words = [command, str(tmp_path / "no.yaml")]
    code = (
        "from creditree.cli.main import app\nfrom creditree.errors import ConfigError\n"
        f"try:\n    app({words!r}, standalone_mode=False)\nexcept ConfigError as error:\n    said = str(error)\n"
        "assert 'does not exist; give the path of a YAML file' in said\n"
    )
    assert not heavy_imports(code) & LEARNING


def test_what_reads_a_configuration_loads_no_adapters() -> None:
    """peft, and bitsandbytes which it loads, take seconds: nothing needs them before an adapter is made or read."""
    code = "import sys\nimport creditree.setup.described, creditree.setup.start, creditree.measure.target\n"
    assert not heavy_imports(code) & {"peft", "bitsandbytes"}


@pytest.mark.parametrize("package", [pytest.param("torch", marks=pytest.mark.thorough), "pydantic"])
def test_the_check_on_imports_can_fail(package: str) -> None:
    assert package in heavy_imports(f"import {package}\n" + HELP)


def test_the_version_is_printed() -> None:
    assert creditree("--version").stdout == f"creditree {__version__}\n"


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
