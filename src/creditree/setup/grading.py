"""Who judges: verifiers of a configuration's `reward`, their rules, and the digests of their code."""

from collections.abc import Callable
from hashlib import sha256

from creditree.config.reward import OPTIONS, RewardBlock, judge_of, limits_of, reward_of
from creditree.config.single import SingleBlock, labels
from creditree.rewards import Combined, Single
from creditree.units import parse_bytes
from creditree.user_code import digest_of
from creditree.verify.choice import Choice
from creditree.verify.exact import ExactText
from creditree.verify.isolated import DEADLINE_S, IsolatedReward
from creditree.verify.last_integer import LastInteger
from creditree.verify.locate import load_reward
from creditree.verify.mathematics import Mathematics
from creditree.verify.numeric import Numeric
from creditree.verify.pool import WorkerPool
from creditree.verify.program import Program
from creditree.verify.reward_function import rules_of
from creditree.verify.verifier import Rules, Verifier


def build_verifier(reward: RewardBlock | str) -> Verifier:
    """Return the verifier that `reward` names. Raises ConfigError where it cannot be made.

    A function is imported now, in a process of its own; workers of graders start when the first answer needs one. Close
    it with `verify.closing`.
    """
    block = reward_of({"name": reward}) if isinstance(reward, str) else reward
    if block.rewards is not None:
        return _combined(block, block.rewards, build_verifier)
    if block.name in OPTIONS:
        grader = _grader(block)
        if isinstance(grader, Program):
            grader.check()
        return grader
    memory = None if block.memory is None else parse_bytes(block.memory)
    return load_reward(block.name, block.deadline or DEADLINE_S, memory)


def grading(reward: RewardBlock) -> Rules:
    """Return the rules by which `reward` judges, without running anything: a function's are those that are set."""
    if reward.rewards is not None:
        return _combined(reward, reward.rewards, _unstarted).rules()
    if reward.name in OPTIONS:
        return _grader(reward).rules()
    return rules_of(reward.name) | {"deadline_s": reward.deadline or DEADLINE_S}


def code_digest(reward: RewardBlock) -> str | None:
    """Return the sha256 of the file of a reward function; None for a grader, whose code is Creditree's.

    That of several is over all of theirs.
    """
    if reward.rewards is not None:
        own = [code_digest(judge_of(single)) for single in reward.rewards if not single.is_ready]
        return sha256(" ".join(map(str, own)).encode()).hexdigest() if any(own) else None
    return None if reward.name in OPTIONS else digest_of(reward.name)


def _combined(block: RewardBlock, rewards: list[SingleBlock], build: Callable[[RewardBlock], Verifier]) -> Combined:
    names = zip(labels(rewards), rewards, strict=True)
    singles = [
        Single(name, single.weight, single.ready() if single.is_ready else build(judge_of(single)))
        for name, single in names
    ]
    return Combined(tuple(singles), block.combine or "sum")


def _unstarted(block: RewardBlock) -> Verifier:
    """Return a verifier that says its rules, and has started nothing."""
    if block.name in OPTIONS:
        return _grader(block)
    return IsolatedReward(block.name, block.deadline or DEADLINE_S)


def _grader(block: RewardBlock) -> Verifier:
    if block.name == "exact":
        return ExactText(bool(block.ignore_case))
    if block.name == "numeric":
        return Numeric(block.tolerance or 0.0)
    if block.name == "choice":
        return Choice()
    if block.name == "math":
        return Mathematics(WorkerPool(limits_of(block)), block.math_verify is not False)
    if block.name == "program":
        limits = limits_of(block)
        return Program(
            bool(block.allow_execution),
            limits.deadline_s,
            limits.memory_bytes,
            limits.num_workers,
            block.contain is not False,
        )
    return LastInteger()
