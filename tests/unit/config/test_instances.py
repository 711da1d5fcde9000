"""Pieces as instances: the same configuration as by name, in whatever way they are given."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import creditree as ct
from creditree.errors import ConfigError
from creditree.explore.midpoint import Midpoint
from creditree.explore.replay import Replay
from creditree.pieces import name_of
from creditree.select.masked import Masked
from creditree.select.top_entropy import TopEntropy
from creditree.tree import Branch


@dataclass(frozen=True)
class Firsts(Masked):
    """Only the first tokens of a completion learn."""

    first: int = ct.number(3, "how many tokens learn", least=1)

    def mask(self, branch: Branch) -> NDArray[np.bool_]:
        """Return which tokens of a branch learn."""
        return np.arange(len(branch.token_ids)) < self.first


TASK = {"task": "multiplication", "method": "grpo"}
HERE = f"{Path(__file__).resolve()}:Firsts"


def test_ours_is_its_name_and_its_numbers() -> None:
    by_name = ct.load_config(TASK, method={"select": "top_entropy", "q": 0.3})
    expected = by_name.method.build()
    assert expected.select == TopEntropy(q=0.3)
    assert ct.load_config(TASK, method={"select": TopEntropy(q=0.3)}).method.build() == expected
    assert ct.load_config(TASK, select=TopEntropy(q=0.3)).method.build() == expected
    config: dict[str, object] = {"task": "multiplication", "method": {"name": "grpo", "select": TopEntropy(q=0.3)}}
    assert ct.load_config(config).method.build() == expected
    assert ct.load_config(TASK, **{"method.select": TopEntropy(q=0.3)}).method.build() == expected


def test_every_number_is_that_of_the_instance_and_not_of_the_named_method() -> None:
    """T-SPMO replays groups of 50, and the class has groups of 50 by itself; Midpoint has 6."""
    assert ct.load_config(TASK, explore=Replay()).method.build().explore == Replay()
    assert ct.load_config({"task": "multiplication"}, explore=Midpoint()).method.build().explore == Midpoint()


def test_a_class_of_a_file_goes_by_its_file_and_is_not_imported_twice() -> None:
    config = ct.load_config(TASK, select=Firsts(first=5))
    assert config.method.select == name_of(Firsts()) == HERE
    assert config.method.build().select == Firsts(first=5)  # of this very class
    assert config.method.resolved().first == 5


def test_a_class_inside_a_function_is_known_here_and_newly_defined_is_another() -> None:
    def defined(least: int) -> type[Masked]:
        @dataclass(frozen=True)
        class Some(Masked):
            first: int = ct.number(least, "how many tokens learn")

            def mask(self, branch: Branch) -> NDArray[np.bool_]:
                return np.arange(len(branch.token_ids)) < self.first

        return Some

    for least in (1, 2):
        kind = defined(least)
        config = ct.load_config(TASK, select=kind())
        assert config.method.select == "here:Some"
        assert config.method.build().select == kind()
    with pytest.raises(ConfigError, match=r"^the configuration: method.select is an instance of Other, a class of a "):
        ct.load_config(TASK, select="here:Other")


def test_what_a_configuration_cannot_say_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"method.first is 2 in the instance of Firsts and 4 beside it; give both"):
        ct.load_config(TASK, method={"select": Firsts(first=2), "first": 4})
    with pytest.raises(ConfigError, match=r"method.credit is 'top_entropy', which is no answer to it"):
        ct.load_config(TASK, credit=TopEntropy())
    with pytest.raises(ConfigError, match=r"method.credit is '.*:Firsts', which is no subclass of creditree.credit"):
        ct.load_config(TASK, credit=Firsts())
    with pytest.raises(ConfigError, match=r"method.first is 0: set 1 or more"):
        Firsts(first=0)


def test_an_instance_counts_only_where_nothing_replaces_it() -> None:
    config = {"task": "multiplication", "method": {"name": "grpo", "select": Firsts(first=5)}}
    assert ct.load_config(config, select=Firsts(first=6)).method.build().select == Firsts(first=6)
