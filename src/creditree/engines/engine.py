"""What an engine is: tokens in, tokens out."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from typing import Protocol

from creditree.engines.pulse import Told
from creditree.errors import ConfigError
from creditree.ledger import Ledger
from creditree.problem import Verdict
from creditree.rng import Key
from creditree.signals import NO_SIGNALS, Signals
from creditree.step_attention import StepAttention
from creditree.tree import Branch, FinishReason, FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Sampling:
    """The distribution to sample from: softmax(logits / temperature), cut to the top-p nucleus; 0 is greedy."""

    temperature: float = 1.0
    top_p: float = 1.0
    entropies: bool = False

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ConfigError(f"the sampling temperature is {self.temperature}: set 0 (greedy) or more.")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p is {self.top_p}: it must be above 0 and at most 1.")

    @property
    def name(self) -> str:
        """What results are filed under: ``greedy`` for temperature 0, else such as ``T=0.3``."""
        return "greedy" if self.temperature == 0 else f"T={self.temperature:g}"


@dataclass(frozen=True, eq=False, slots=True)
class SampleRequest:
    """Continue `context_ids` once for each key, by at most `max_new_tokens` tokens.

    Token t of the continuation with key K is the inverse of the sampling distribution's CDF at ``K.uniforms(...)[t]``:
    it does not depend on what else is sampled in the same call. The first `prompt_tokens` of the context are the prompt
    (None: all of it), which matters to signals that look at a whole completion. `handles`: of the context's tokens, as
    earlier samples brought them (`Branch.handles`), as far as they are known.
    """

    context_ids: IntArray
    keys: tuple[Key, ...]
    max_new_tokens: int
    prompt_tokens: int | None = None
    signals: Signals = NO_SIGNALS
    handles: IntArray | None = None

    @property
    def prompt_length(self) -> int:
        """How many first tokens of the context are the prompt."""
        return len(self.context_ids) if self.prompt_tokens is None else self.prompt_tokens


@dataclass(frozen=True, eq=False, slots=True)
class Sample:
    """One continuation, its final EOS included. `creditree.tree.Branch` says what the numbers of its tokens are."""

    token_ids: IntArray
    logprobs: FloatArray
    sampler_logprobs: FloatArray
    finish_reason: FinishReason
    entropies: FloatArray | None = None
    influence: FloatArray | None = None
    attention: StepAttention | None = None
    handles: IntArray | None = None

    def branch(self, parent: int | None, fork: int, verdict: Verdict | None = None, *, learns: bool = True) -> Branch:
        """Return it as the branch of a tree that inherits `fork` completion tokens of branch `parent`."""
        drawn = {item.name: getattr(self, item.name) for item in fields(self)}
        return Branch(parent, fork, verdict=verdict, learns=learns, **drawn)


class Drawing(Protocol):
    """Continuations that are being sampled elsewhere, while this process does other work."""

    def weights(self) -> AbstractContextManager[None]:
        """Run the block with the weights that are sampled from, whatever was learned since; then go back."""
        ...

    def samples(self, told: Told | None = None) -> tuple[list[list[Sample]], Ledger]:
        """Return what `Engine.sample` would have; to be called once, with the weights that are sampled from."""
        ...

    def end(self) -> None:
        """Ask for no more of them: nobody waits."""
        ...


class Engine(Protocol):
    """Samples continuations of token sequences."""

    @property
    def max_rows(self) -> int:
        """How many completions it decodes together."""
        ...

    @property
    def num_workers(self) -> int:
        """How many processes draw side by side."""
        return 1

    def sample(
        self, requests: Sequence[SampleRequest], sampling: Sampling, told: Told | None = None
    ) -> tuple[list[list[Sample]], Ledger]:
        """Return the samples of each request, in the order of its keys, and what they cost.

        `told` hears how far the call is, a few times a second at most.
        """
        ...

    def begin(self, requests: Sequence[SampleRequest], sampling: Sampling) -> Drawing | None:
        """Begin to sample from the weights as they are now, and return at once.

        None where samples are drawn by this process, which cannot do other work meanwhile.
        """
        return None

    def forget(self) -> None:
        """Drop all stored keys and values: the weights have changed, or no fork will come back to these prefixes."""
        ...

    @property
    def remote(self) -> str | None:
        """Where samples come from, for the record of a run; None: from this process."""
        return None

    @property
    def notes(self) -> tuple[str, ...]:
        """What to say of it before it samples: sentences without a full stop."""
        return ()

    def close(self) -> None:
        """Give back what is held elsewhere, when nothing is sampled any more: nothing, unless an engine says so."""
        return
