"""Settings of the whole test suite."""

import os

# Before any test imports torch: workers share few cores, and results must not depend on the number of threads.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"
if not os.path.exists("/dev/nvidia0"):
    os.environ.setdefault("TRITON_INTERPRET", "1")  # Triton's kernels run in its interpreter

import gc
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

# A shell without job control starts what runs in the background with Ctrl-C ignored, and programs hand that down.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Every run tries the same examples, so that no test fails by chance; `make fuzz` and `make proof` explore new ones.
# `make test` tries few of each law, `make test-all` has the profile "thorough".
settings.register_profile("repeat", deadline=None, max_examples=25, derandomize=True, print_blob=True)
settings.register_profile("thorough", deadline=None, max_examples=100, derandomize=True, print_blob=True)
settings.register_profile("explore", deadline=None, max_examples=300, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeat"))

NO_PROBLEMS = "no problem sets at"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of problem sets for development, or skip the test where it is not at hand."""
    named = os.environ.get("CREDITREE_SHARED_DATA")
    folder = Path(named) if named else Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"{NO_PROBLEMS} {folder}: set CREDITREE_SHARED_DATA to a folder that has svamp.jsonl")
    return folder


def pytest_collection_finish() -> None:
    """Leave what has been made so far out of garbage collections: tests that collect take seconds less."""
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, None, None]:
    """After a file, leave what lives on out of garbage collections: else each takes a tenth of a second later on."""
    yield
    if nextitem is None or nextitem.path != item.path:
        gc.collect()
        gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Give all tests that miss the folder one place: pytest's summary has one line for each place and reason."""
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and NO_PROBLEMS in report.longrepr[2]:
        report.longrepr = (__file__, 0, report.longrepr[2])
    return report
