"""The progress of a training run: a live panel on a terminal, a plain line now and then elsewhere."""

from collections import deque
from collections.abc import Callable, Mapping
from math import isclose
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from creditree.evaluate.summary import TOKENS
from creditree.ledger import TRAINING_PHASES
from creditree.report.wording import count, duration, percent

Clock = Callable[[Mapping[str, object]], float | None]
"""What is spent of a budget, in seconds or tokens, up to a record, or None where it does not say."""

_RECENT = 20
_REFRESH_S = 0.1


class Progress:
    """Shows the metrics records of a run as they come; use it as a context.

    A record has "step" and "seconds" (wall); of the whole run so far "signal_share", "sampled", "decoded", "forwarded",
    "in_loss", "updates", "no_signal", "seconds_by_phase"; and of the step "reward_mean", "loss", "grad_norm" and
    "validation_accuracy" and "validation_reward". What is missing or None is not shown. The reward is averaged over the
    last 20 records.
    "cpu_seconds" counts against the processor's budget where it is known, else "seconds"; against the budget of
    training's wall seconds count those phases of "seconds_by_phase" that are training, and "sampled" against that of
    tokens.
    """

    def __init__(
        self,
        total_steps: int | None,
        console: Console,
        cpu_budget_s: float | None = None,
        wall_budget_s: float | None = None,
        token_budget: int | None = None,
        *,
        every_s: float = 10.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        """`every_s`: without a terminal, how often a line is written (the first and the last record always are)."""
        self._total = total_steps
        budgets = ((cpu_budget_s, _processor_s), (wall_budget_s, _training_s), (token_budget, _sampled))
        self._budgets = [(budget, clock) for budget, clock in budgets if budget is not None]
        self._console = console
        self._every = every_s
        self._clock = clock
        self._recent: deque[Mapping[str, object]] = deque(maxlen=_RECENT)
        self._validation: float | None = None
        self._validation_reward: float | None = None
        self._shown_at: float | None = None
        self._written_step: int | None = None
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live is not None:
            self._live.stop()
        if self._recent and self._step() != self._written_step:
            self._write()

    def update(self, record: Mapping[str, object]) -> None:
        """Take the record of a step, and show it."""
        self._recent.append(record)
        accuracy = _number(record, "validation_accuracy")
        if accuracy is not None:
            self._validation, self._validation_reward = accuracy, _number(record, "validation_reward")
        wait = self._every if self._live is None else _REFRESH_S
        if accuracy is None and self._shown_at is not None and self._clock() - self._shown_at < wait:
            return
        self._shown_at = self._clock()
        if self._live is None:
            self._write()
        else:
            self._live.update(self._panel(), refresh=True)

    def message(self, text: str) -> None:
        """Show a sentence, above the panel where there is one."""
        self._console.print(Text(text), soft_wrap=True)

    def line(self) -> str:
        """Return the present state as one plain line. Raises IndexError before the first record."""
        remaining = self.remaining_s()
        left = [] if remaining is None else [f"{duration(remaining)} left"]
        return " | ".join([self._done(), *self._learning(), *self._tokens(), *self._phases(), *left])

    def remaining_s(self) -> float | None:
        """Return the wall seconds left by steps or by a budget, whichever ends first; None: none is known.

        Steps are taken to last as long as the last 20 did.
        """
        if not self._recent:
            return None
        ends = []
        pace = self._seconds_per_step(_elapsed_s)
        if self._total is not None and pace is not None:
            ends.append((self._total - self._step()) * pace)
        for budget, clock in self._budgets:
            spent, spending = clock(self._recent[-1]), self._seconds_per_step(clock)
            if spent is not None:
                wall_per_second = pace / spending if pace and spending else 1.0
                ends.append((budget - spent) * wall_per_second)
        return max(0.0, min(ends)) if ends else None

    def _write(self) -> None:
        self._console.print(Text(self.line()), soft_wrap=True)
        self._written_step = self._step()

    def _step(self) -> int:
        return int(_number(self._recent[-1], "step") or 0)

    def _seconds_per_step(self, clock: Clock) -> float | None:
        first, last = self._recent[0], self._recent[-1]
        begin, end = clock(first), clock(last)
        start, stop = _number(first, "step"), _number(last, "step")
        if begin is None or end is None or start is None or stop is None:
            return None
        if stop > start:
            return (end - begin) / (stop - start)
        # the base model is measured once: counted as a step's work, it would foretell hours
        once = _measuring_s(last) if clock is _elapsed_s else 0.0
        return (end - once) / stop if stop > 0 else None

    def _completed(self) -> float:
        """Return the share of the run that is done, by steps or by a budget, whichever is furthest."""
        return min(1.0, max(self._share_of_steps(), self._share_of_budget()))

    def _share_of_steps(self) -> float:
        return self._step() / self._total if self._total else 0.0

    def _share_of_budget(self) -> float:
        return max(((clock(self._recent[-1]) or 0.0) / budget for budget, clock in self._budgets), default=0.0)

    def _panel(self) -> Panel:
        remaining = self.remaining_s()
        head = Table.grid(expand=True, padding=(0, 1))
        head.add_column(no_wrap=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True)
        left = "" if remaining is None else f"{duration(remaining)} left"
        head.add_row(Text(self._done()), ProgressBar(total=1.0, completed=self._completed()), Text(left))
        rows = (self._learning(), self._tokens(), self._updates(), self._phases())
        return Panel(Group(head, *(Text(" · ".join(row)) for row in rows if row)), title="training", title_align="left")

    def _done(self) -> str:
        # where a budget ends the run, the number of steps is a bound that nobody will see
        of = "" if self._total is None or self._share_of_budget() > self._share_of_steps() else f"/{self._total}"
        seconds = _number(self._recent[-1], "seconds")
        return f"step {self._step()}{of}" + ("" if seconds is None else f" in {duration(seconds)}")

    def _learning(self) -> list[str]:
        rewards = [r for r in (_number(record, "reward_mean") for record in self._recent) if r is not None]
        signal = _number(self._recent[-1], "signal_share")
        parts = [f"reward {sum(rewards) / len(rewards):.3f}{_singles(self._recent[-1])}"] if rewards else []
        if signal is not None:
            parts.append(f"steps with signal {percent(signal)} %")
        if self._validation is not None:
            parts.append(f"validation {percent(self._validation)} %")
            # Where rewards are not 0 or 1, the share of correct completions says less than their mean.
            if self._validation_reward is not None and not isclose(
                self._validation_reward, self._validation, abs_tol=5e-4
            ):
                parts.append(f"validation reward {self._validation_reward:.3f}")
        return parts

    def _tokens(self) -> list[str]:
        known = [(label, _number(self._recent[-1], name)) for name, label in TOKENS.items()]
        return [f"{label} {count(number)}" for label, number in known if number is not None]

    def _updates(self) -> list[str]:
        shown = {"updates": "updates {:.0f}", "no_signal": "without signal {:.0f}"}
        shown |= {"loss": "loss {:.3g}", "grad_norm": "gradient norm {:.3g}"}
        known = [(text, _number(self._recent[-1], name)) for name, text in shown.items()]
        return [text.format(number) for text, number in known if number is not None]

    def _phases(self) -> list[str]:
        seconds = self._recent[-1].get("seconds_by_phase")
        if not isinstance(seconds, Mapping):
            return []
        return [f"{name} {duration(float(value))}" for name, value in seconds.items()]


def _singles(record: Mapping[str, object]) -> str:
    """Return the single rewards of a step, where its rewards are sums of several."""
    rewards = record.get("rewards")
    means = {name: reward["mean"] for name, reward in rewards.items()} if isinstance(rewards, Mapping) else {}
    said = ", ".join(f"{name} {'none' if mean is None else f'{mean:.3f}'}" for name, mean in means.items())
    return f" (last: {said})" if said else ""


def _elapsed_s(record: Mapping[str, object]) -> float | None:
    return _number(record, "seconds")


def _measuring_s(record: Mapping[str, object]) -> float:
    seconds = record.get("seconds_by_phase")
    return float(seconds.get("evaluate", 0.0)) if isinstance(seconds, Mapping) else 0.0


def _processor_s(record: Mapping[str, object]) -> float | None:
    known = _number(record, "cpu_seconds")
    return _elapsed_s(record) if known is None else known


def _training_s(record: Mapping[str, object]) -> float | None:
    seconds = record.get("seconds_by_phase")
    return sum(seconds.get(phase, 0.0) for phase in TRAINING_PHASES) if isinstance(seconds, Mapping) else None


def _sampled(record: Mapping[str, object]) -> float | None:
    return _number(record, "sampled")


def _number(record: Mapping[str, object], name: str) -> float | None:
    value = record.get(name)
    return float(value) if isinstance(value, int | float) else None
