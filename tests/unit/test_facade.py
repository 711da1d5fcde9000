"""`import creditree`: light, complete, and its procedures are called by the packages' names."""

import inspect
import subprocess
import sys

import pytest

import creditree as ct

LIGHT = """
import sys
import creditree as ct
assert ct.train and ct.evaluate and callable(ct.pilot)
print([name for name in ("torch", "transformers", "numpy", "pydantic", "rich", "typer") if name in sys.modules])
"""


def test_importing_it_imports_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_name_is_there() -> None:
    for name in ct.__all__:
        assert getattr(ct, name) is not None, name
    assert set(ct.__all__) <= set(dir(ct))
    with pytest.raises(AttributeError, match="has no attribute 'tran'"):
        _ = ct.tran


@pytest.mark.parametrize("name", sorted({"compare", "grade", *ct.PROCEDURES}))
def test_a_procedure_says_what_it_takes(name: str) -> None:
    procedure = getattr(ct, name)
    assert callable(procedure)
    assert inspect.signature(procedure).parameters.keys() >= {
        "train": {"config", "directory", "resume", "watcher", "overrides"},
        "evaluate": {"target", "task", "samples", "out", "overrides"},
    }.get(name, set())


def test_a_package_of_the_same_name_stays_one() -> None:
    from creditree.train.loop import Loop

    assert Loop is ct.Loop
    assert callable(ct.train)
    with pytest.raises(TypeError, match="needs the directory of the run"):
        ct.train({"task": "multiplication"})
