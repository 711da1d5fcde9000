import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditree.config.load import check_config
from creditree.config.search import Trial
from creditree.sweep.halving import ranked, survivors

CONFIG = check_config({"task": "multiplication"}, "here")


def trials(names: str) -> list[Trial]:
    """Return a trial for each letter, its composition."""
    return [Trial(f"{name}{number}", name, {}, (), CONFIG) for number, name in enumerate(names)]


def compositions(found: list[Trial]) -> str:
    return "".join(trial.composition for trial in found)


def test_the_highest_reward_is_first_and_equals_stay_in_order() -> None:
    found = ranked(trials("abcd"), [0.5, None, 0.7, 0.5])
    assert compositions(found) == "cad"


@pytest.mark.parametrize(
    ("order", "slots", "kept"),
    [
        ("aabbgg", 3, "agg"),  # a, a, b: b gives its place to g, and then a, which has two, gives one to the second g
        ("abcg", 3, "abg"),  # each composition has one, and so has the baseline
        ("aaaggg", 4, "aagg"),
        ("ggga", 2, "ga"),  # something is always compared with the baseline
        ("agb", 2, "ag"),
        ("ab", 2, "ab"),  # the baseline failed
        ("gg", 2, "g"),
    ],
)
def test_the_baseline_keeps_as_many_as_any_other(order: str, slots: int, kept: str) -> None:
    assert compositions(survivors(trials(order), slots, "g")) == kept


def test_without_a_baseline_the_best_go_on() -> None:
    assert compositions(survivors(trials("aabg"), 3, None)) == "aab"


@given(st.text("abcg", min_size=2, max_size=12), st.integers(2, 12))
def test_laws(order: str, slots: int) -> None:
    everyone = trials(order)
    kept = survivors(everyone, slots, "g")
    found, names = compositions(kept), [trial.name for trial in kept]
    assert names == [trial.name for trial in everyone if trial.name in names]  # the best stays first
    assert len(found) <= slots
    others = set(order) - {"g"}
    if "g" in order and others:
        assert "g" in found
        assert any(name in found for name in others)
    for name in others:
        # the baseline has as many, unless it has no more, or a single other one is left
        assert found.count("g") >= min(found.count(name), order.count("g")) or len(found.replace("g", "")) == 1
    for name in "abcg":
        kept_of_it = [trial.name for trial in kept if trial.composition == name]
        assert kept_of_it == [trial.name for trial in everyone if trial.composition == name][: len(kept_of_it)]
