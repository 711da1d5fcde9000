"""Passes over a batch by a model's own forward pass: each path from a prompt to a leaf is a row, whole and padded."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from creditree.batch import Batch
from creditree.learner.passes import Passes
from creditree.models.trained import Trained
from creditree.models.whole import WholeModel
from creditree.objective.base import Objective
from creditree.tree import IntArray

MAX_LOGITS = 1 << 26
"""Logits of one pass, or those of one row: 256 MB in float32, and as much again in each step of their softmax."""


@dataclass(frozen=True, eq=False, slots=True)
class Path:
    """A row: its token ids, and the terms [m] on tokens that no earlier row holds, with the positions that predict."""

    token_ids: IntArray
    terms: IntArray
    positions: IntArray


def paths_of(batch: Batch) -> list[Path]:
    """Return the paths of a batch's trees that terms stand on, each term on the first path that holds its row.

    In preorder the tokens that a path has first are those after the leaf before, up to its own.
    """
    leaves = np.flatnonzero(batch.exit == batch.enter + 1)
    parent, order = batch.parent, np.argsort(batch.row, kind="stable")
    bounds = np.searchsorted(batch.row[order], np.concatenate([[0], leaves + 1]))
    paths = []
    for leaf, start, stop in zip(leaves.tolist(), bounds[:-1], bounds[1:], strict=True):
        path = np.empty(batch.position[leaf] + 1, dtype=np.int64)
        at = leaf
        for depth in range(len(path) - 1, -1, -1):
            path[depth], at = at, int(parent[at])
        terms = order[start:stop]
        paths.append(Path(batch.token_ids[path], terms, batch.position[batch.row[terms]]))
    return paths


class RowPasses(Passes):
    """A batch and the passes over it, in padded rows. A prefix that rows share is forwarded in each of them."""

    def __init__(self, trained: Trained, objective: Objective, batch: Batch, network: WholeModel) -> None:
        super().__init__(trained, objective, batch)
        self._whole = network
        self._paths = sorted(paths_of(batch), key=lambda path: len(path.token_ids))

    def gradient(self, max_tokens: int) -> float:
        """Add the gradient of the loss to the trained matrices; return the loss."""
        return self._sum(max_tokens, learns=True)

    def loss(self, max_tokens: int) -> float:
        """Return the loss, without gradient."""
        return self._sum(max_tokens, learns=False)

    @torch.no_grad()
    def states(self, max_tokens: int, *, base: bool = False) -> tuple[Tensor, Tensor | None]:
        """Return the states after the final norm that predict each term [M, width]: the policy's, and the base's."""
        policy = self._states(max_tokens)
        if not base:
            return policy, None
        with self.trained.off():
            return policy, self._states(max_tokens)

    @torch.no_grad()
    def logprobs(self, max_tokens: int, temperature: float = 1.0) -> Tensor:
        """Return log softmax(logits / temperature)[token] of each term [M], at least in float32."""
        logprobs = torch.empty(self.batch.num_terms, dtype=self._kind, device=self._network.device)
        for part in self._parts(max_tokens):
            logprobs[self._tensor(_terms(part))] = self._of_part(part, temperature)
        return logprobs

    @property
    def _kind(self) -> torch.dtype:
        return torch.promote_types(self._network.dtype, torch.float32)

    def _sum(self, max_tokens: int, *, learns: bool) -> float:
        total, temperature = 0.0, self.objective.loss_temperature
        for part in self._parts(max_tokens):
            reference = self._reference(part, temperature) if self.objective.kl > 0 else None
            with torch.set_grad_enabled(learns):
                loss = self._loss_of(_terms(part), reference)(self._of_part(part, temperature), slice(None))
                if learns:
                    loss.backward()
            total += loss.item()
        return total

    @torch.no_grad()
    def _reference(self, part: list[Path], temperature: float) -> Tensor:
        with self.trained.off():
            return self._of_part(part, temperature)

    def _of_part(self, part: list[Path], temperature: float) -> Tensor:
        """Return the log-probabilities of the terms of some rows, with gradient if it is on."""
        keep = np.unique(np.concatenate([path.positions for path in part]))
        logits = self._whole.logits([path.token_ids for path in part], keep)
        row, position = _places(part)
        # rows of the head that several terms share are taken once
        places, of_term = np.unique(row * len(keep) + np.searchsorted(keep, position), return_inverse=True)
        chosen = logits.flatten(0, 1)[self._tensor(places)].to(self._kind) / temperature
        normaliser = chosen.logsumexp(dim=-1)
        index, token = self._tensor(of_term), self._tensor(self.batch.token[_terms(part)])
        return chosen[index, token] - normaliser[index]

    def _states(self, max_tokens: int) -> Tensor:
        hidden: Tensor | None = None
        for part in self._parts(max_tokens):
            states = self._whole.states([path.token_ids for path in part])
            if hidden is None:
                hidden = states.new_empty(self.batch.num_terms, states.shape[-1])
            row, position = _places(part)
            hidden[self._tensor(_terms(part))] = states[self._tensor(row), self._tensor(position)]
        return torch.zeros(0, self._network.hidden_size) if hidden is None else hidden

    def _parts(self, max_tokens: int) -> Iterator[list[Path]]:
        """Yield rows of about the same length that go through the model together."""
        part: list[Path] = []
        kept: set[int] = set()
        for path in self._paths:
            if not len(path.terms):
                continue
            now = kept | set(path.positions.tolist())
            tokens = (len(part) + 1) * len(path.token_ids)  # the longest so far
            logits = (len(part) + 1) * len(now) * self._network.vocab_size
            if part and (tokens > max_tokens or logits > MAX_LOGITS):
                yield part
                part, now = [], set(path.positions.tolist())
            part.append(path)
            kept = now
        if part:
            yield part


def _terms(part: list[Path]) -> IntArray:
    return np.concatenate([path.terms for path in part])


def _places(part: list[Path]) -> tuple[IntArray, IntArray]:
    """Return row and position of what predicts each term."""
    row = np.repeat(np.arange(len(part)), [len(path.terms) for path in part])
    return row, np.concatenate([path.positions for path in part])
