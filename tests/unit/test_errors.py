"""Errors are one family, and hints name the nearest word."""

import pytest

from creditree.errors import ConfigError, CreditreeError, DataError, ModelError, RunError, did_you_mean


@pytest.mark.parametrize("error", [ConfigError, DataError, ModelError, RunError])
def test_every_user_error_is_a_creditree_error(error: type[Exception]) -> None:
    assert issubclass(error, CreditreeError)


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("grop", ("grpo", "s-grpo", "t-spmo"), " Did you mean 'grpo'?"),
        ("zzz", ("b", "a"), " Known: a, b."),
        ("zzz", (), ""),
        ("brnching", ("all", "branching", "nonzero"), " Did you mean 'branching'?"),
    ],
)
def test_hint(word: str, known: tuple[str, ...], hint: str) -> None:
    assert did_you_mean(word, known) == hint
