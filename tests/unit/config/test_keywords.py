"""Keywords of Python stand for keys of a configuration, where it is clear which."""

import pytest

from creditree.config.keywords import as_overrides
from creditree.errors import ConfigError


def test_a_short_name_is_the_key_that_has_it() -> None:
    assert as_overrides({"steps": 200, "digits_a": 4, "seed": 3, "memory": "2GB"}) == (
        "train.steps=200",
        "task.digits_a=4",
        "seed=3",
        'train.memory="2GB"',  # a grader has memory too
    )


def test_blocks_dotted_keys_and_names_of_blocks() -> None:
    given = {"train": {"steps": 2}, "sampling.temperature": 0.5, "method": "grpo"}
    assert as_overrides(given) == ("train.steps=2", "sampling.temperature=0.5", 'method="grpo"')


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"temperature": 1.0}, r"several blocks; say which, as \*\*\{'sampling.temperature': ...\} or "),
        ({"stepz": 1}, "'stepz' is no key of a configuration. Did you mean 'steps'"),
        ({"steps": object()}, "train.steps is <object"),
    ],
)
def test_what_is_not_clear_is_refused(keywords: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        as_overrides(keywords)
