"""A run that next to nothing can be learned from says so while it goes on, once, and not before it can know."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from creditree.explore.group import Group
from creditree.ledger import Ledger
from creditree.methods import METHODS
from creditree.train.sameness import Sameness
from tests.training import SETTINGS, Scripted, trainer_of

WORTHLESS = Ledger(completions=32, worthless=32)
GRPO = replace(METHODS["grpo"](), explore=Group(4))


def told(*steps: tuple[int, float, float, Ledger]) -> list[str | None]:
    sameness = Sameness()
    return [sameness.take(*step) for step in steps]


def test_it_is_told_once_from_32_groups_on() -> None:
    found = told(*[(4, 0.0, 0.0, WORTHLESS)] * 12)
    assert [place for place, sentence in enumerate(found) if sentence] == [7]  # 8 steps of 4 groups
    assert found[7] == (
        "in 32 of 32 groups all completions got the same reward (0 of 256 completions were right), and 8 of 8 steps "
        "had nothing to learn from. To learn, take easier problems or a stronger base model, and check that reward "
        "reads the answers."
    )


def test_a_few_groups_that_differ_need_more_groups_to_be_sure() -> None:
    # Wilson's upper end at 95 % of 2 of 32 is .2015, of 2 of 36 .1814: above and below the .2 that is allowed
    busy = replace(WORTHLESS, worthless=30, solved=2)
    found = told((4, 0.25, 0.1, busy), (4, 0.25, 0.1, busy), *[(4, 0.0, 0.0, WORTHLESS)] * 8)
    assert [place for place, sentence in enumerate(found) if sentence] == [8]
    assert "in 34 of 36 groups" in str(found[8])
    assert "(4 of 288 completions were right), and 7 of 9 steps had nothing to learn" in str(found[8])


@pytest.mark.parametrize(
    ("share", "useful", "cost", "words"),
    [
        (0.0, 0.0, Ledger(completions=32, solved=32), "take harder problems"),
        (0.0, 0.0, Ledger(completions=32, solved=16, worthless=16), "raise method.group or sampling.temper"),
        (0.0, 0.0, Ledger(completions=32, worthless=30, failed_verdicts=2), "take easier problems"),
        (0.0, 0.1, WORTHLESS, None),  # a method that learns nevertheless
        (0.2, 0.0, WORTHLESS, None),
    ],
)
def test_the_cure_is_for_what_was_seen(share: float, useful: float, cost: Ledger, words: str | None) -> None:
    found = [sentence for sentence in told(*[(10, share, useful, cost)] * 4) if sentence]
    assert (len(found) == 1 and re.search(words, found[0]) is not None) if words else not found


@pytest.mark.parametrize(
    ("reward", "expected"), [(lambda text: 0.0, 1), (lambda text: float(sum(map(ord, text)) % 2), 0)]
)
def test_a_run_shows_it(reward: Callable[[str], float], expected: int, tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps=18, max_new_tokens=48)  # two groups a step, of which not all are cut off
    trainer, notes = trainer_of(tmp_path / "run", settings, Scripted(training=reward), GRPO)
    trainer.train()
    shown = [text for text in notes.messages if "all completions got the same reward (" in text]
    assert len(shown) == expected
    assert all(text.startswith("warning: step 16: in 32 of 32 groups") for text in shown)
