"""Decoding in static shapes: on CUDA a step is one graph launch, and the host waits for nothing until the end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from creditree.engines.completions import Completions, Context, Live
from creditree.engines.decoder import Decoder
from creditree.engines.engine import Sampling
from creditree.engines.static.apart import decode_apart
from creditree.engines.static.grid import row_bucket
from creditree.engines.static.record import Recorder
from creditree.engines.static.shared import decode_shared
from creditree.engines.static.steps import Steps
from creditree.engines.store import PrefixStore
from creditree.ledger import Ledger
from creditree.models.load import Model

_FIXED_ROPES = ("default", "linear", "llama3", "yarn")
"""Kinds of rotary angles that depend on a token's position alone, not on how long its pass is."""
_MOST_DIFFERENT = 0.5
"""Different prefixes of the last call, as a share of its tokens, up to which sharing rows is tried."""


@dataclass(slots=True)
class DecodingPace:
    """What calls of one size and sampling have shown: the last one's `different` prefixes as a share of its tokens.

    `apart`, `shared`: seconds a token of the last call that decoded so, without those of recording steps.
    """

    different: float = 1.0
    apart: float | None = None
    shared: float | None = None

    @property
    def shares(self) -> bool:
        """Whether to decode shared: where enough is shared, once to see, and then while it is the faster way."""
        if self.different > _MOST_DIFFERENT or self.apart is None:
            return False
        return self.shared is None or self.shared < self.apart


class StaticDecoder:
    """Decodes in shapes that repeat, so that steps are recorded and replayed (see `Steps`).

    Two ways lead to the same tokens. `decode_apart` gives each completion a row of its own: the host is not needed
    until the end, but equal prefixes are forwarded once for each completion that has them. `decode_shared` forwards
    them once, at the price of a look by the host at each block of steps, and of completions that wait for it. Which is
    faster depends on how much is shared, and on the device: it is measured (`DecodingPace`), for each size of call and
    sampling.

    `ledger.decoded` counts the rows forwarded until their ends, without the unused rows of a grid and what is computed
    after a row's end.

    Memory besides weights and store, kept between calls, for the largest grid (B = C R rows of T tokens, C contexts of
    P): keys and values of B T + C P tokens, and B T hidden states (twice with `keep_layer`).
    """

    def __init__(
        self,
        model: Model,
        store: PrefixStore,
        prefill: Decoder,
        recorder: Recorder | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        """Decode for `store`; contexts are forwarded by `prefill`."""
        self.model = model
        self.store = store
        self.steps = Steps(model, store, recorder or Recorder(model.transformer.device))
        self.paces: dict[tuple[Sampling, int], DecodingPace] = {}
        self._prefill = prefill
        self._clock = clock

    @property
    def recorder(self) -> Recorder:
        """Who records the steps."""
        return self.steps.recorder

    @recorder.setter
    def recorder(self, recorder: Recorder) -> None:
        self.steps.recorder = recorder

    def misfit(self) -> str | None:
        """Return why the model cannot be decoded so, None where it can.

        Every layer must be in lean form, and angles known beforehand.
        """
        transformer = self.model.transformer
        kind = (getattr(transformer.config, "rope_parameters", None) or {}).get("rope_type", "default")
        if kind not in _FIXED_ROPES:
            return f"its rotary angles ('{kind}') depend on the length of a sequence"
        others = [index for index, layer in enumerate(transformer.lean_layers) if layer is None]
        if others:
            return f"{len(others)} of its {transformer.num_layers} layers are run as the modules they are"
        return None

    def prefill(self, contexts: Sequence[Context], read: Callable[[int], None] | None = None) -> None:
        """Store keys, values and last hidden states of the contexts' new tokens."""
        self._prefill.prefill(contexts, read)

    def decode(self, completions: Completions, live: Live, ledger: Ledger) -> None:
        """Draw every completion to its end; what was computed is put into the store."""
        self.steps.drop_if_moved()
        recorder, ends = self.recorder, np.array(self.model.eos_ids)
        eager, captured = recorder.eager, recorder.captured
        pace = self.paces.setdefault((completions.sampling, row_bucket(len(live.which), 1)), DecodingPace())
        shares = pace.shares
        began, recording = self._clock(), recorder.seconds
        forwarded = (decode_shared if shares else decode_apart)(self.steps, self.store, completions, live, ends)
        spent = self._clock() - began - (recorder.seconds - recording)
        drawn = int((completions.drawn[live.which] - 1).sum())
        if drawn:
            pace.different = forwarded / drawn
            if shares:
                pace.shared = spent / drawn
            else:
                pace.apart = spent / drawn
        ledger.decoded += forwarded if shares else drawn
        ledger.eager += recorder.eager - eager
        ledger.captures += recorder.captured - captured
