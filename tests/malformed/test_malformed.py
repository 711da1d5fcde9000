"""Whatever is fed in: it works with the right content, or it is one sentence and exit code 2; never a traceback."""

import os
import shutil
import signal
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
import yaml

from creditree.cli.main import run
from tests.malformed import outcomes as limits
from tests.malformed.blocks import block_cases
from tests.malformed.families import CONFIG, Sources, cases
from tests.malformed.outcomes import Case, Outcome, outcomes
from tests.malformed.tables import table_cases
from tests.tiny_models import char_tokenizer, random_model

SEED = 20261126
QUICK = {"configuration": 14, "override": 16, "lists": 6, "sweep": 4, "data": 22, "predictions": 6}
TOGETHER = 12
"""Cases of a sample that share a process."""
ALL = {
    "configuration": 260,
    "override": 260,
    "lists": 100,
    "sweep": 60,
    "data": 320,
    "predictions": 100,
    "model": 70,
    "run": 70,
}


def table(found: list[Outcome]) -> str:
    """Return how many inputs of each family ended how."""
    names = sorted({one.name for one in found})
    lines = ["family        " + "".join(f"{name:>14}" for name in names)]
    for family in dict.fromkeys(one.case.family for one in found):
        counts = Counter(one.name for one in found if one.case.family == family)
        lines.append(f"{family:14}" + "".join(f"{counts[name]:14}" for name in names))
    return "\n".join(lines)


def ended(folder: Path, counts: dict[str, int], sources: Sources, together: int = 1) -> list[Outcome]:
    found = []
    for outcome in outcomes(cases(folder, SEED, counts, sources), together):
        found.append(outcome)
        shutil.rmtree(outcome.case.folder)
        if outcome.is_fault:  # shown at once, for who waits
            print(f"{outcome.name}: {outcome.case.family}, {outcome.case.kind}: {outcome.detail}", file=sys.stderr)
    print(table(found))
    return found


def faults(found: list[Outcome]) -> list[str]:
    return [f"{one.name}: {one.case.family}, {one.case.kind}: {one.detail}" for one in found if one.is_fault]


def test_a_sample_of_malformed_inputs(tmp_path: Path) -> None:
    found = ended(tmp_path, QUICK, Sources(), TOGETHER)
    assert not faults(found)
    assert {one.name for one in found} == {"works", "refused"}


def test_a_sample_of_each_known_kind(tmp_path: Path) -> None:
    known = [*table_cases(tmp_path, 4, 19), *block_cases(tmp_path, 4, 19)]
    found = list(outcomes(known, TOGETHER))
    assert len(found) >= 30
    assert not faults(found)
    assert {one.name for one in found} == {"works", "refused"}


def test_a_case_that_ends_its_process_ends_no_other(tmp_path: Path) -> None:
    def refuse() -> None:
        print("creditree: it is refused.", file=sys.stderr)
        raise SystemExit(2)

    acts: dict[str, Callable[[], None]] = {
        "works": lambda: None,
        "crash": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "refused": refuse,
        "traceback": lambda: os._exit(1),
    }
    made = [Case("act", kind, tmp_path / f"{n}-{kind}", (), act=act) for n in (1, 2) for kind, act in acts.items()]
    for case in made:
        case.folder.mkdir()
    found = list(outcomes(made, together=5))
    assert len(found) == len(made)
    assert all(one.name == one.case.kind for one in found)


def test_what_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that works is ended by its work, one that waits by the clock; what works less is left to its end."""
    monkeypatch.setattr(limits, "LIMIT_S", 0.5)
    monkeypatch.setattr(limits, "PATIENCE_S", 3.0)
    acts: dict[str, Callable[[], None]] = {
        "works": lambda: time.sleep(1.0),
        "hang, busy": lambda: deque(count(), maxlen=0).clear(),
        "hang, waiting": lambda: time.sleep(600),
    }
    made = [Case("act", kind, tmp_path / f"case-{n}", (), act=act) for n, (kind, act) in enumerate(acts.items())]
    for case in made:
        case.folder.mkdir()
    found = {one.case.kind: one for one in outcomes(made)}
    assert {kind: one.name for kind, one in found.items()} == {kind: kind.partition(",")[0] for kind in acts}


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("make", [table_cases, block_cases])
def test_every_known_kind(make: Callable[[Path], Iterator[Case]], tmp_path: Path) -> None:
    found = []
    for outcome in outcomes(make(tmp_path)):
        found.append(outcome)
        shutil.rmtree(outcome.case.folder)
    assert len(found) >= 250
    assert not faults(found)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    """Return a model directory and a finished run."""
    model, trained = tmp_path / "model", tmp_path / "trained"
    random_model("llama", torch.float32).save_pretrained(model)
    char_tokenizer().save_pretrained(model)
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["creditree", "train", str(config), "--run", str(trained)])
    with pytest.raises(SystemExit) as stopped:
        run()
    assert not stopped.value.code
    return Sources(model, trained)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_a_thousand_malformed_inputs(tmp_path: Path, sources: Sources) -> None:
    assert sum(ALL.values()) >= 1000
    found = ended(tmp_path / "cases", ALL, sources)
    assert len(found) == sum(ALL.values())
    assert not faults(found)
