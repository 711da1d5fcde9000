"""A stage that stands still is named, after a minute, two more, four more; one that moves is not."""

from collections.abc import Mapping

from creditree.engines.pulse import Pulse
from creditree.ledger import Seconds
from creditree.report.watcher import Watcher
from creditree.train.watchdog import Watchdog, watched


class Told(Watcher):
    """A watcher that keeps sentences."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    def update(self, record: Mapping[str, object]) -> None:
        """Keep nothing of records."""

    def message(self, text: str) -> None:
        """Keep a sentence."""
        self.messages.append(text)


def test_what_stands_still_is_named_ever_more_rarely() -> None:
    told, seconds, now = Told(), Seconds(), [0.0]
    dog = Watchdog(told, lambda: seconds, lambda: now[0])
    with seconds.phase("judge"):
        for minute in range(9):
            now[0] = 60.0 * minute
            dog.look()
    # Told after one minute, after twice as long (two), after four and after eight.
    assert told.messages == [f"still judging: nothing has moved for {minutes} min 00 s" for minutes in (1, 2, 4, 8)]
    now[0] += 3600.0
    dog.look()  # nothing is being done
    dog.look()
    assert len(told.messages) == 4


def test_phases_that_follow_one_another_are_life() -> None:
    told, seconds, now = Told(), Seconds(), [0.0]
    dog = Watchdog(told, lambda: seconds, lambda: now[0])
    for _ in range(5):
        for phase in ("sample", "judge"):
            with seconds.phase(phase):
                now[0] += 50.0
                dog.look()
    assert told.messages == []


def test_a_measurement_that_goes_on_is_shown_and_one_that_does_not_is_named() -> None:
    told, seconds, now = Told(), Seconds(), [0.0]
    dog = Watchdog(told, lambda: seconds, lambda: now[0])
    with seconds.phase("evaluate"):
        dog.look()
        for done in range(1, 5):
            now[0] += 10.0
            dog.measured("greedy, base", 10 * done, 0, 5 * done, 40, 0)
            dog.look()
        assert told.messages == [
            "greedy, base: 20 of 40 completions | correct 50.0 %",
            "greedy, base: 40 of 40 completions | correct 50.0 %",
        ]
        now[0] += 60.0
        dog.look()
    assert told.messages[2:] == ["still measuring (greedy, base): nothing has moved for 1 min 00 s"]


def test_a_long_engine_call_is_shown_now_and_then_and_is_life() -> None:
    told, seconds, now = Told(), Seconds(), [0.0]
    dog = Watchdog(told, lambda: seconds, lambda: now[0])
    with seconds.phase("sample"):
        for second in range(1, 41):
            now[0] = float(second)
            dog.beat("", Pulse(8, second // 10, 50 * second, float(second), 100.0 - second))
            dog.look()
    assert told.messages == [
        "sampling: 1 of 8 completions sampled, 750 tokens, 50 tokens/s, at most 1 min 25 s left",
        "sampling: 3 of 8 completions sampled, 1.50 k tokens, 50 tokens/s, at most 1 min 10 s left",
    ]
    for call in range(20):  # calls of 8 s each
        for second in range(1, 9):
            now[0] = 41.0 + 8 * call + second
            dog.beat("greedy, base", Pulse(8, 0, 50 * second, float(second), 1.0))
    assert len(told.messages) == 2


def test_it_looks_while_the_block_runs_and_ends_with_it() -> None:
    looks: list[int] = []

    class Counting(Watchdog):
        def look(self) -> None:
            looks.append(1)

    seconds = Seconds()
    with watched(Counting(Told(), lambda: seconds), look_s=0.001):
        while len(looks) < 3:
            pass
    count = len(looks)
    assert count >= 3
