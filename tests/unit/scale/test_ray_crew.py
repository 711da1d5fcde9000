"""Workers in processes of Ray: a queue, death, what is slow, what cannot be done. They do sums in place of training."""

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from creditree.errors import DataError, ModelError
from creditree.ledger import Seconds
from creditree.scale.cluster import Need
from creditree.scale.crew import Order, Reply, SentWeights
from creditree.scale.ray_crew import RayCrew
from tests.ray_processes import joined, worker_pids

Told = list[str]


@dataclass(eq=False)
class Sums:
    """What a worker is to a crew: it adds numbers up. What is slow lasts until there is the file `until`."""

    until: Path
    holds: dict[str, object] = field(default_factory=lambda: {"base": "digest"})

    def do(self, order: Order, weights: SentWeights) -> Reply:
        """Add up; be slow, fail, or die where that is asked for."""
        while order.what == "slow" and not self.until.exists():
            time.sleep(0.01)
        if order.what == "wrong":
            raise DataError("this cannot be added up.")
        if order.what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        return Reply(sum(order.arguments), Seconds(cpu={order.what: 1.0}))


def sums(until: Path) -> Any:
    return Sums(until)


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file that ends what is slow; it is made where a worker has died, too."""
    return tmp_path_factory.mktemp("sums") / "released"


@pytest.fixture
def held(released: Path) -> Path:
    """The file, which is not there."""
    released.unlink(missing_ok=True)
    return released


@pytest.fixture(scope="module")
def crew(released: Path) -> Iterator[tuple[RayCrew, Told]]:
    told: Told = []

    def tell(words: str) -> None:
        told.append(words)
        released.touch()

    with joined():
        crew = RayCrew(partial(sums, released), 2, Need(), tell)
        crew.start({"base": "digest"})
        yield crew, told
        crew.close()


def orders(*what: str) -> list[Order]:
    return [Order(name, (number, 1)) for number, name in enumerate(what)]


def test_values_come_in_the_order_of_orders_and_processor_seconds_are_added_up(crew: tuple[RayCrew, Told]) -> None:
    before = crew[0].cpu_s
    assert crew[0].run(orders(*["add"] * 7), None) == [1, 2, 3, 4, 5, 6, 7]
    assert crew[0].cpu_s == before + 7
    assert crew[0].run([], None) == []
    assert crew[0].notes == ("2 workers, each on 1 CPU",)


def test_what_is_slow_holds_one_worker_and_the_other_does_the_rest(crew: tuple[RayCrew, Told], held: Path) -> None:
    heard: list[int] = []

    def hear(number: int, reply: Reply) -> None:
        heard.append(number)
        if len(heard) == 5:
            held.touch()

    crew[0].run(orders("slow", *["add"] * 5), None, hear)
    assert sorted(heard) == list(range(6))
    assert heard[-1] == 0


def test_what_cannot_be_done_is_said_here_and_the_next_order_is_done(crew: tuple[RayCrew, Told], held: Path) -> None:
    with pytest.raises(DataError, match="cannot be added up"):
        crew[0].run(orders("wrong", "slow", "wrong"), None)
    held.touch()
    assert crew[0].run(orders("add", "add"), None) == [1, 2]


def test_who_dies_is_replaced_and_the_work_is_done_again(
    crew: tuple[RayCrew, Told], held: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def kill(number: int, reply: Reply) -> None:
        if number == 0:
            os.kill(worker_pids()[0], signal.SIGKILL)

    crew[1].clear()
    assert crew[0].run(orders("add", *["slow"] * 3), None, kill) == [1, 2, 3, 4]
    assert len(crew[1]) == 1
    assert "died; another takes its place, and its work is done again" in crew[1][0]
    assert capfd.readouterr() == ("", "")


@pytest.mark.thorough
def test_work_that_kills_whoever_does_it_is_given_up(
    crew: tuple[RayCrew, Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("creditree.scale.ray_crew.MOST_DEATHS", 2)  # each costs the start of another worker
    with pytest.raises(ModelError, match="2 workers died of the same work"):
        crew[0].run(orders("die"), None)


@pytest.mark.thorough
def test_a_worker_that_holds_something_else_is_refused(crew: tuple[RayCrew, Told], released: Path) -> None:
    other = RayCrew(partial(sums, released), 1, Need(), crew[1].append)
    with pytest.raises(ModelError, match=r"holds something else than this process .base: digest there, other here"):
        other.start({"base": "other"})
    other.close()
