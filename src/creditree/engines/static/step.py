"""One step of static decoding: forward the last token of every row, draw the next one, all on the device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from creditree.engines.draw import draw_each
from creditree.engines.engine import Sampling
from creditree.engines.static.buffers import Buffers
from creditree.models.transformer import Transformer


@dataclass(frozen=True, eq=False, slots=True)
class DecodeStep:
    """Reads and writes `buffers` only, in shapes that do not depend on their contents: it can be captured.

    `stage`: how much of the rows' own caches is read; a step at a column of `stage` or more needs another one. `ends`:
    the tokens that end a completion.
    """

    transformer: Transformer
    buffers: Buffers
    sampling: Sampling
    stage: int
    ends: Tensor
    keep_layer: int | None

    def __call__(self) -> None:
        """Forward the tokens at `column`, draw those of the next column, and move on."""
        to, model = self.buffers, self.transformer
        position = to.start + to.column
        cos, sin = (table.index_select(0, position)[:, None] for table in to.rope)
        plan = to.plan(self.stage)
        hidden = model.embed(to.token[:, None])
        if self.keep_layer is not None:
            hidden = model.layers(hidden, (cos, sin), plan, 0, self.keep_layer)
            to.large["trunk"].index_copy_(1, to.column, hidden)
        hidden = model.layers(hidden, (cos, sin), plan, self.keep_layer or 0)
        to.large["hidden"].index_copy_(1, to.column, hidden)
        to.column.add_(1)
        self.draw(hidden[:, 0])

    def draw(self, hidden: Tensor) -> None:
        """Draw the tokens at `column` from the states before them [B, width], after the last layer, before the norm."""
        to = self.buffers
        logits = self.transformer.logits(self.transformer.norm(hidden))
        drawn = draw_each(logits, to.uniform.index_select(1, to.column)[:, 0], self.sampling)
        kinds = [drawn.token, drawn.logprob, drawn.sampler_logprob]
        kinds += [] if drawn.entropy is None else [drawn.entropy]
        found = torch.stack([kind.to(to.out.dtype) for kind in kinds])
        to.out[: len(kinds)].index_copy_(2, to.column, found[:, :, None])
        to.token.copy_(drawn.token)
        ended = (drawn.token[:, None] == self.ends).any(dim=1)
        to.done.logical_or_(ended | (to.column + 1 >= to.budget))
        to.left.copy_(to.done.logical_not().sum(0, keepdim=True))
