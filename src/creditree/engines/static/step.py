"""One step of static decoding: forward the last token of every row, draw the next ones, all on the device."""

from dataclasses import dataclass

import torch
from torch import Tensor

from creditree.engines.draw import draw_each
from creditree.engines.engine import Sampling
from creditree.engines.static.attention import SplitPlan
from creditree.engines.static.buffers import Buffers
from creditree.models.transformer import Rope, Transformer


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
            hidden = self._layers(hidden, (cos, sin), plan, 0, self.keep_layer)
            to.large["trunk"].index_copy_(1, to.column, hidden)
        hidden = self._layers(hidden, (cos, sin), plan, self.keep_layer or 0, model.num_layers)
        to.large["hidden"].index_copy_(1, to.column, hidden)
        to.column.add_(1)
        self.draw(hidden[:, 0])

    def draw(self, hidden: Tensor) -> None:
        """Draw the tokens at `column` from the states before them [B, width], after the last layer, before the norm."""
        self.draw_from(self.transformer.logits(self.transformer.norm(hidden)))

    def draw_from(self, logits: Tensor) -> None:
        """Draw the tokens at `column` from the logits [B, V] before them."""
        to = self.buffers
        drawn = draw_each(logits, to.uniform.index_select(1, to.column)[:, 0], self.sampling, to.row)
        kinds = [drawn.token, drawn.logprob, drawn.sampler_logprob]
        kinds += [] if drawn.entropy is None else [drawn.entropy]
        numbers = torch.stack([kind.to(to.out.dtype) for kind in kinds])
        to.out[: len(kinds)].index_copy_(2, to.column, numbers[:, :, None])
        self.take(drawn.token)

    def take(self, token: Tensor) -> None:
        """Go on with the tokens [M] that were drawn at `column`."""
        to = self.buffers
        ended = (token[:, None] == self.ends).any(dim=1) | (to.column + 1 >= to.budget)
        if to.row is None:
            to.token.copy_(token)
        else:
            ended |= self._parted(token, to.row, (ended | to.done).logical_not())
        to.done.logical_or_(ended)
        to.left.copy_(to.done.logical_not().sum(0, keepdim=True))

    def _parted(self, token: Tensor, row: Tensor, going: Tensor) -> Tensor:
        """Let each row go on with the token that most of its completions drew; return which drew another one [M].

        `going` [M]: who goes on, and has a vote. Of equally many votes the first completion's count.
        """
        to, members = self.buffers, len(row)
        place = torch.arange(members, device=row.device)
        votes = (row[:, None] == row) & (token[:, None] == token) & going
        rank = votes.sum(dim=1) * going * members + members - 1 - place
        best = torch.full_like(to.token, -1).scatter_reduce(0, row, rank, "amax")
        to.token.copy_(token.index_select(0, members - 1 - best.remainder(members)))
        to.drawn.add_(to.done.logical_not())
        return token != to.token.index_select(0, row)

    def _layers(self, hidden: Tensor, rope: Rope, plan: SplitPlan, start: int, stop: int) -> Tensor:
        return self.transformer.layers(hidden, rope, plan, start, stop)
