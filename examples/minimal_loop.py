"""The whole of T-SPMO (arXiv 2504.20834) in one file, over Creditree's public pieces: about a minute on one CPU core.

Each step: sample a group of completions and judge them, replay from inside a success and a failure, credit every
(prefix, token) pair by how much it raised the mean reward, keep the unique pairs where completions part, and push the
adapter along pi(token | prefix) * advantage.

    python examples/minimal_loop.py [--steps 80] [--seed 0]
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import torch

import creditree as ct

MAX_NEW_TOKENS, PROBLEMS_PER_STEP, LEARNING_RATE = 64, 4, 4e-3
EXPLORER = ct.Replay(group=16, successes=1, failures=1)  # a group, then one more from inside a success and a failure
OBJECTIVE = ct.Likelihood(l2=0.01, l2_decoupled=True)  # pi * A, and the paper's penalty


def sample(
    model: ct.Model, engine: ct.InProcessEngine, tree: ct.RolloutTree, fork: ct.Fork, key: ct.Key, prompt: str
) -> ct.RolloutTree:
    """Sample the branches that the explorer wants in one tree, and judge them."""
    keys = tuple(key.at(fork.tree, len(tree.branches) + member) for member in range(fork.count))
    context, known = tree.context(fork.parent, fork.at), tree.context_handles(fork.parent, fork.at)
    budget = MAX_NEW_TOKENS - len(tree.kept_ids) - fork.at
    request = ct.SampleRequest(context, keys, budget, handles=known)
    (samples,), _ = engine.sample([request], ct.Sampling(temperature=0.5))  # what it has seen is not computed again
    texts = [model.text(np.concatenate([tree.kept_ids, drawn.token_ids])) for drawn in samples]
    verdicts = ct.LastInteger().judge([ct.Answer(tree.problem, prompt, text) for text in texts])
    return tree.grown(*(s.branch(fork.parent, fork.at, v) for s, v in zip(samples, verdicts, strict=True)))


def explore(
    model: ct.Model, engine: ct.InProcessEngine, task: ct.Multiplication, problem: ct.Problem, key: ct.Key
) -> ct.Forest:
    """Run the explorer: it says what it wants sampled, is sent the trees grown by it, and returns them at the end."""
    prompt = task.prompt.render(problem)
    root = ct.RolloutTree(problem, ct.prompt_ids(task.prompt, problem, model))
    exploration = EXPLORER.grow(root, key)
    growth = next(exploration)
    while True:
        trees = list(growth.forest)
        for fork in growth.forks:
            trees[fork.tree] = sample(model, engine, trees[fork.tree], fork, key, prompt)
        try:
            growth = exploration.send(tuple(trees))
        except StopIteration as finished:
            forest: ct.Forest = finished.value
            return forest


def accuracy(examiner: ct.Examiner, problems: Sequence[ct.Problem], temperature: float) -> list[int]:
    """Return 0 or 1 for each held-out problem."""
    return [int(right or 0) for right in examiner.evaluate(problems, ct.Sampling(temperature)).correct.values()]


def main(steps: int, seed: int, num_test: int = 300) -> tuple[float, float]:
    """Train, and return the greedy accuracy before and after."""
    torch.set_num_threads(1)
    key = ct.Key.of(seed)
    task = ct.Multiplication(digits_a=3, digits_b=1)
    model = ct.load_model("builtin:multiplication")
    adapter = ct.Adapter(model, ct.LoraSpec(rank=8, layers=1 / 3), key)  # q and v of the last 2 of 6 layers
    engine = ct.InProcessEngine(model, keep_layer=adapter.first_layer)
    credit, select = ct.PrefixGain(), ct.BranchingPairs()
    learner = ct.Learner(adapter, OBJECTIVE, ct.OptimiserSpec(LEARNING_RATE), trunk_store=engine)

    examiner = ct.Examiner(model, engine, ct.LastInteger(), task.prompt, MAX_NEW_TOKENS, ct.Key.of(1))
    test = task.held_out("test", num_test)
    before = accuracy(examiner, test, 0.0)

    for step in range(steps):
        problems = [task.training(key.at("problems"), step * PROBLEMS_PER_STEP + i) for i in range(PROBLEMS_PER_STEP)]
        forests = [explore(model, engine, task, problem, key.at("step", step, i)) for i, problem in enumerate(problems)]

        # A(v|p) = V(p + v) - V(p), V(p) the mean reward of the completions that start with p
        advantages = [tuple(credit.assign(tree) for tree in forest) for forest in forests]
        # 1 / |U| for each unique pair at a prefix where completions part, 0 elsewhere
        weights = [select.weigh(forest, a, key) for forest, a in zip(forests, advantages, strict=True)]

        # only the ancestors of a pair with an advantage are forwarded, each once
        batch = ct.pack(forests, advantages, weights, keep_zero_advantage=False)
        if batch.num_terms:
            learner.step(batch, key, LEARNING_RATE * (1 - 0.9 * step / steps))
        engine.forget()  # the weights have changed

        if step % 10 == 0 or step == steps - 1:
            rewards = np.mean([forest[0].rewards(forest[0].rewarded).mean() for forest in forests])
            sampled = sum(len(branch.token_ids) for forest in forests for tree in forest for branch in tree.branches)
            print(
                f"step {step:3d}  reward {rewards:.2f}  sampled {sampled} tokens, forwarded {batch.num_tokens}, "
                f"trained on {batch.num_terms}",
                flush=True,
            )

    after = accuracy(examiner, test, 0.0)
    change = ct.paired_difference(before, after)
    for name, correct in (("before", before), ("after", after)):
        found = ct.wilson(sum(correct), len(correct))
        low, high = found.interval.low, found.interval.high
        print(f"{name:6s}  greedy accuracy {found.value:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    print(f"change  {change.value:+.3f}  p = {change.p_value:.1e}")
    return float(np.mean(before)), float(np.mean(after))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = argparse.ArgumentParser(description="T-SPMO on 3-digit x 1-digit multiplication.")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.seed)
