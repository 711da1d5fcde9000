"""What a worker does: it holds the model, samples, judges, explores whole problems, and sums gradients of its share."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from creditree.batch import Batch
from creditree.engines.engine import Engine, Sample, SampleRequest, Sampling
from creditree.engines.whole import WholeEngine
from creditree.explore.base import Explorer
from creditree.learner.learner import Learner
from creditree.learner.mismatch import Mismatch
from creditree.ledger import Ledger, Seconds
from creditree.models.trained import Trained
from creditree.objective.base import Objective
from creditree.problem import Problem, Verdict
from creditree.rng import Key
from creditree.scale.crew import Order, Reply, SentWeights
from creditree.scale.lockstep import Lockstep
from creditree.train.exploring import Exploring
from creditree.train.inputs import Inputs
from creditree.train.rollout import Rollout
from creditree.train.settings import Parts, Settings
from creditree.tree import FloatArray, Forest
from creditree.verify.verifier import Answer, Verifier

if TYPE_CHECKING:
    from creditree.scale.sharded import ModelGroup


@dataclass(frozen=True, eq=False, slots=True)
class Errand:
    """A problem to explore: from its prompt, or from its judged first round (`forest`) on.

    `whole`: to the end of the exploration, else by one round;  `kept`: with old log-probabilities, since an update
    comes before it is learned from.
    """

    explorer: Explorer
    problem: Problem
    index: int
    key: Key
    budget: int
    forest: Forest | None
    whole: bool
    kept: bool


@dataclass(frozen=True, eq=False, slots=True)
class ExploredForest:
    """What came of an errand: the forest after its last round, and how many rounds it has had in all."""

    forest: Forest
    rounds: int


@dataclass(frozen=True, eq=False, slots=True)
class Gradients:
    """What a shard adds to an update: its loss, its gradients [matrices], None where a matrix has none, and counts."""

    loss: float
    clipped: int
    mismatch: Mismatch
    matrices: list[NDArray[np.generic] | None]
    micro_batch_tokens: int


@dataclass(eq=False, slots=True)
class CrewWorker:
    """Does orders, one after the other. Nothing is remembered between them but the weights.

    What an engine stores is dropped before each: the same order gives the same bits, whoever did what before.
    `learner`, `rollout`: None where nothing is trained;  `holds`: digests of model and problems, by name;  `lockstep`:
    of a model that is divided among the workers.
    """

    engine: Engine
    trained: Trained | None
    verifiers: Sequence[Verifier]
    learner: Learner | None = None
    rollout: Rollout | None = None
    holds: Mapping[str, object] = field(default_factory=dict)
    lockstep: Lockstep | None = None
    _digest: bytes | None = field(default=None)

    @classmethod
    def training(cls, parts: Parts, settings: Settings) -> "CrewWorker":
        """Return a worker for the training of some parts."""
        learner = parts.learner
        holds = {} if parts.inputs is None else held_by(parts.inputs)
        return cls(parts.engine, learner.trained, parts.verifiers, learner, Rollout.of(parts, settings), holds)

    def do(self, order: Order, weights: SentWeights) -> Reply:
        """Return what comes of an order with some weights."""
        if weights.digest is not None and weights.digest != self._digest:
            assert self.trained is not None
            self.trained.load_state({name: torch.from_numpy(np.array(a)) for name, a in weights.arrays.items()})
            self._digest = weights.digest
        seconds = Seconds()
        self.engine.forget()
        off = self.trained.off() if weights.digest is None and self.trained is not None else nullcontext()
        together = nullcontext() if self.lockstep is None else self.lockstep.working()
        with together, off, seconds.phase(order.what):
            value = getattr(self, order.what)(*order.arguments)
        self.engine.forget()
        return Reply(value, seconds)

    def share(self, group: "ModelGroup") -> None:
        """Hold the model together with the others of a group, from now on."""
        assert isinstance(self.engine, WholeEngine)
        self.lockstep = group.divide(self.engine.model, self.trained)

    @property
    def is_alone(self) -> bool:
        """Whether it is out of step with those that hold the model with it."""
        return self.lockstep is not None and self.lockstep.is_broken

    def attend(self) -> Reply:
        """Take part in the passes of others over a model that is divided among them, until they have done theirs."""
        assert self.lockstep is not None
        seconds = Seconds()
        with seconds.phase("attend"):
            self.lockstep.attend()
        return Reply(None, seconds)

    def sample(self, requests: Sequence[SampleRequest], sampling: Sampling) -> tuple[list[list[Sample]], Ledger]:
        """Return the samples of some requests, without what only this process's engine knows of them."""
        samples, ledger = self.engine.sample(requests, sampling)
        return [[replace(sample, handles=None) for sample in drawn] for drawn in samples], ledger

    def judge(self, answers: Sequence[Answer], verifier: int = 0) -> tuple[Verdict, ...]:
        """Return the verdicts on some answers."""
        return self.verifiers[verifier].judge(answers)

    def explore(self, errands: Sequence[Errand]) -> tuple[list[ExploredForest], Ledger]:
        """Return the forests of some problems, which are sampled together round by round."""
        assert self.rollout is not None
        ledger, seconds = Ledger(), Seconds()
        live = [self._exploring(errand) for errand in errands]
        pairs = list(zip(live, errands, strict=True))
        kept = [exploring for exploring, errand in pairs if errand.kept]
        first = self.rollout.judged_round(live, ledger, seconds, kept)
        whole = [exploring for exploring, errand in pairs if errand.whole]
        for (exploring, errand), forest in zip(pairs, first, strict=True):
            if errand.whole:
                exploring.send(forest)
        self.rollout.to_the_end(whole, ledger, seconds)
        explored = [
            ExploredForest(exploring.forest, exploring.rounds) if errand.whole else ExploredForest(forest, 1)
            for (exploring, errand), forest in zip(pairs, first, strict=True)
        ]
        return [replace(own, forest=portable(own.forest)) for own in explored], ledger

    def _exploring(self, errand: Errand) -> Exploring:
        assert self.rollout is not None
        root = self.rollout.root(errand.problem, errand.budget)
        exploring = Exploring.start(errand.explorer, root, errand.index, errand.key, errand.budget)
        if errand.forest is not None:
            exploring.send(errand.forest)
        return exploring

    def gradient(self, batch: Batch, objective: Objective, key: Key, at_old: bool) -> Gradients:
        """Return the gradient of the loss of a shard, summed over its terms."""
        learner = self._learner
        with learner.maximising(objective):
            loss, clipped, mismatch = learner.accumulate(batch, key, at_old)
        sums = [None if matrix.grad is None else matrix.grad.cpu().numpy() for matrix in learner.matrices]
        learner.optimiser.zero_grad()
        return Gradients(loss, clipped, mismatch, sums, learner.micro_batch_tokens)

    def loss(self, batch: Batch, objective: Objective) -> float:
        """Return the loss of a shard, without gradient."""
        with self._learner.maximising(objective):
            return self._learner.loss(batch)

    def logprobs(self, batch: Batch, temperature: float) -> FloatArray:
        """Return the log-probabilities of a shard's tokens [m]."""
        return self._learner.logprobs(batch, temperature)

    def states(self, batch: Batch) -> FloatArray:
        """Return the last hidden states of a shard's terms [m, width]."""
        return self._learner.states(batch)

    def residuals(self, batch: Batch) -> FloatArray:
        """Return how far what is trained moves the last hidden states of a shard's terms [m]."""
        return self._learner.residuals(batch)

    @property
    def _learner(self) -> Learner:
        assert self.learner is not None
        return self.learner


def held_by(inputs: Inputs) -> dict[str, object]:
    """Return digests of all that must be the same in all processes of a run, by name."""
    return {name: value for name, value in asdict(inputs).items() if name != "engine"}


def portable(forest: Forest) -> Forest:
    """Return a forest without what only this process's engine and step know of it."""
    return tuple(
        replace(
            tree,
            root_handles=None,
            shared=None,
            branches=tuple(replace(branch, handles=None) for branch in tree.branches),
        )
        for tree in forest
    )
