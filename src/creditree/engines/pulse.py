"""How far an engine call is, told while it runs: a call that lasts minutes is neither silent nor deaf."""

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

EVERY_S = 0.25
"""Seconds between two pulses, at least: short calls tell nothing."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """State of one engine call.

    `rows`: completions asked for;  `finished`: of those, drawn to their ends;  `tokens`: drawn so far, in `seconds` of
    decoding;  `left_s`: how long the rest takes at most, if no completion ended before its limit (None: not known yet);
    `read`, `to_read`: tokens of prompts forwarded, and to be forwarded, before anything is drawn.
    """

    rows: int
    finished: int = 0
    tokens: int = 0
    seconds: float = 0.0
    left_s: float | None = None
    read: int = 0
    to_read: int = 0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens drawn a second, None before there are any."""
        return self.tokens / self.seconds if self.tokens and self.seconds > 0 else None


Told = Callable[[Pulse], None]
"""Takes a pulse. What it raises ends the call: nothing of it is returned then."""


class Heart:
    """Counts one call, chunk by chunk of rows that are decoded together, and tells whoever listens now and then.

    Time left is by positions: each takes no longer than those before did, since finished rows leave.
    """

    def __init__(
        self, rows: int, positions: int, told: Told | None = None, clock: Callable[[], float] = monotonic
    ) -> None:
        """`positions`: tokens that the longest completion of each chunk may have, added up."""
        self._rows, self._positions, self._told, self._clock = rows, positions, told, clock
        self._finished = self._tokens = self._before = 0
        self._read = self._to_read = 0
        self._decoding_s = 0.0
        self._since: float | None = None
        self._beaten = clock()

    @property
    def listens(self) -> bool:
        """Whether anybody is told."""
        return self._told is not None

    def reads(self, tokens: int) -> None:
        """Begin to forward so many tokens of prompts."""
        self._read, self._to_read = 0, tokens
        self._beat(Pulse(self._rows, self._finished, self._tokens, self._decoding_s, to_read=tokens))

    def has_read(self, tokens: int) -> None:
        """Take that so many more tokens of prompts were forwarded."""
        self._read += tokens
        self._beat(
            Pulse(
                self._rows, self._finished, self._tokens, self._decoding_s, None, min(self._read, self._to_read),
                self._to_read,
            )
        )  # fmt: skip

    def drew(self, finished: int, tokens: int, position: int) -> None:
        """Take the state of the present chunk: rows that have ended, tokens of all, and the position reached."""
        now = self._clock()
        if self._since is None:
            self._since = now
        seconds, at = self._decoding_s + now - self._since, self._before + position
        left = seconds / at * (self._positions - at) if at and seconds > 0 else None
        self._beat(Pulse(self._rows, self._finished + finished, self._tokens + tokens, seconds, left))

    def ended(self, rows: int, tokens: int, positions: int) -> None:
        """End a chunk: so many rows with so many tokens, and what was reckoned with for it."""
        if self._since is not None:
            self._decoding_s += self._clock() - self._since
        self._since = None
        self._finished, self._tokens, self._before = (
            self._finished + rows, self._tokens + tokens, self._before + positions,
        )  # fmt: skip

    def _beat(self, pulse: Pulse) -> None:
        now = self._clock()
        if self._told is not None and now - self._beaten >= EVERY_S:
            self._beaten = now
            self._told(pulse)
