"""What a prediction assumes, in sentences: whatever only the run itself can tell."""

from creditree.plan.influence import STEP_TOKENS
from creditree.plan.workload import Workload


def assumed(work: Workload) -> list[str]:
    """Return what is assumed of forks, influence, problems a step, updates and a server, where a run has them."""
    sentences = (_forks(work), _influence(work), _problems(work), _updates(work), _server(work))
    return [sentence for sentence in sentences if sentence]


def _server(work: Workload) -> str | None:
    if not work.remote:
        return None
    return "Sampling: a server's memory is its own, and is not counted, even where it is on this machine."


def _forks(work: Workload) -> str | None:
    branches = work.branches
    if branches is None:
        return None
    points = "1 point" if branches.points == 1 else f"{branches.points} points"
    rounds = "" if branches.rounds == 1 else f" in each of {branches.rounds} rounds"
    return (
        f"Forks: every completion of the group is forked at {points}{rounds}, {branches.continuations} continuations "
        "each: at its first token at most, in its middle to expect."
    )


def _influence(work: Workload) -> str | None:
    if work.influence is None:
        return None
    if work.influence.source == "pass" or work.static:
        return (
            f"Influence: a pass over each first completion, over the tokens from step {work.influence.delta} "
            f"on; at most, the steps before it have 1 token each, to expect {STEP_TOKENS}."
        )
    return (
        f"Influence: summed while decoding, for steps of {STEP_TOKENS} tokens; at most, no completion has a separator, "
        "and all are left to the pass."
    )


def _problems(work: Workload) -> str | None:
    beside = " The first round of the next problems is sampled beside the forks." if work.off_policy else ""
    if work.at_most.problems == work.problems:
        return beside.strip() or None
    bound = "are assumed at most, since method.batch_most sets no bound" if work.problems_assumed else "at most"
    return f"Problems a step: {work.at_most.problems} {bound}, {work.problems} to expect.{beside}"


def _updates(work: Workload) -> str | None:
    sentences = []
    if work.mini_batch is not None:
        problems = "1 problem" if work.learned_together == 1 else f"{work.learned_together} problems"
        sentences.append(f"Optimiser steps: {problems} each to expect.")
    if work.all_weights:
        sentences.append("All weights: the gradient is held from one update to the next.")
        if work.on_host:
            sentences.append("A checkpoint copies weights and moments three times.")
    return " ".join(sentences) or None
