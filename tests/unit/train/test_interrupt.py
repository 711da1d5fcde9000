"""Signals: the first asks, the second interrupts, and what is ignored stays ignored."""

import signal
import threading
from collections.abc import Iterator

import pytest

from creditree.train.interrupt import SIGNALS, Interrupted, continuing, finishing, raising


@pytest.fixture(autouse=True)
def terminal() -> Iterator[None]:
    """Heed a lost terminal, which tests that run under nohup ignore."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def ring(*numbers: int) -> None:
    for number in numbers:
        signal.raise_signal(number)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGXCPU, 152)]
)
def test_a_signal_interrupts_where_nothing_has_to_be_finished(number: int, code: int) -> None:
    before = [signal.getsignal(one) for one in SIGNALS]
    with pytest.raises(Interrupted) as stop, raising():
        ring(number)
    assert stop.value.exit_code == code
    assert [signal.getsignal(one) for one in SIGNALS] == before


def test_the_first_signal_asks_and_is_told_once() -> None:
    told: list[int] = []
    with finishing(told.append) as request:
        assert not request.made
        ring(signal.SIGTERM)
        assert request.number == signal.SIGTERM
    assert told == [signal.SIGTERM]


def test_the_second_signal_interrupts_whichever_it_is_and_later_ones_are_ignored() -> None:
    def work() -> None:
        with finishing(lambda number: None):
            try:
                ring(signal.SIGTERM, signal.SIGINT)
            finally:
                ring(signal.SIGINT, signal.SIGHUP, signal.SIGTERM)  # while it is saving

    with pytest.raises(Interrupted) as stop:
        work()
    assert stop.value.number == signal.SIGINT


def test_a_block_that_does_not_end_in_time_is_interrupted() -> None:
    def wait() -> None:
        with finishing(lambda number: None, grace_s=0.01):
            ring(signal.SIGTERM)
            threading.Event().wait(60.0)

    def work() -> None:
        with finishing(lambda number: None, grace_s=0.01):
            ring(signal.SIGINT)
            while True:
                pass

    with pytest.raises(Interrupted) as stop:
        wait()
    assert stop.value.number == signal.SIGTERM
    with pytest.raises(Interrupted):
        work()


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    with raising():
        with finishing(lambda number: None, grace_s=0.05) as request:
            ring(signal.SIGTERM)
        threading.Event().wait(0.15)
    assert request.made


def test_inside_a_block_that_raises_another_may_finish_first() -> None:
    with raising():
        with finishing(lambda number: None) as request:
            ring(signal.SIGHUP)
        assert request.made
        with pytest.raises(Interrupted):
            ring(signal.SIGHUP)


def test_a_signal_that_the_caller_ignores_stays_ignored() -> None:
    """As under nohup: the terminal may go away, and the run goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with raising(), finishing(lambda number: None) as request:
            ring(signal.SIGHUP, signal.SIGHUP)
        assert not request.made
    finally:
        signal.signal(signal.SIGHUP, before)


def test_threads_work_without_handling_signals() -> None:
    done: list[bool] = []

    def work() -> None:
        with raising(), finishing(lambda number: None) as request:
            done.append(request.made)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [False]


def test_the_innermost_hint_is_told() -> None:
    def work() -> None:
        with continuing("outer"), continuing("inner"):
            raise Interrupted(signal.SIGTERM)

    with pytest.raises(Interrupted, match=r"^interrupted by SIGTERM; inner$"):
        work()
    with pytest.raises(Interrupted, match=r"^interrupted; outer$"), continuing("outer"):
        raise KeyboardInterrupt
