"""The whole of T-SPMO (arXiv 2504.20834) in one file, over Creditree's public pieces: about a minute on one CPU core.

Each step: sample a group of completions, judge them, credit every (prefix, token) pair by how much it raised the mean
reward, keep the unique pairs where completions part, and push the adapter along pi(token | prefix) * advantage.

    python examples/minimal_loop.py [--steps 100] [--seed 0]
"""

import argparse
import warnings
from collections.abc import Sequence

import numpy as np
import torch

from creditree.batch import pack
from creditree.credit.prefix_gain import PrefixGain
from creditree.engines.engine import SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.accuracy import Examiner
from creditree.evaluate.statistics import paired_difference, wilson
from creditree.fields import has_signal
from creditree.learner.learner import Learner, OptimiserSpec
from creditree.models.adapter import Adapter, LoraSpec
from creditree.models.load import Model, load_model
from creditree.objective.likelihood import Likelihood
from creditree.problem import Problem
from creditree.rng import Key
from creditree.select.branching_pairs import BranchingPairs
from creditree.tasks.multiplication import Multiplication
from creditree.tree import Branch, Forest, RolloutTree, token_array
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer

GROUP, MAX_NEW_TOKENS, PROBLEMS_PER_STEP, LEARNING_RATE = 16, 64, 4, 4e-3


def sample_trees(
    model: Model, engine: InProcessEngine, task: Multiplication, problems: Sequence[Problem], key: Key
) -> list[Forest]:
    """Sample one flat tree of GROUP completions for each problem, and judge every leaf."""
    prompts = [token_array(task.prompt.encode(problem, model.tokenizer)) for problem in problems]
    requests = [
        SampleRequest(prompt, tuple(key.at(index, member) for member in range(GROUP)), MAX_NEW_TOKENS)
        for index, prompt in enumerate(prompts)
    ]
    found, _ = engine.sample(requests, Sampling(temperature=0.5))
    engine.forget()  # the weights are about to change
    forests: list[Forest] = []
    for problem, prompt, samples in zip(problems, prompts, found, strict=True):
        answers = [Answer(problem, task.prompt.render(problem), model.text(sample.token_ids)) for sample in samples]
        branches = [
            Branch(None, 0, s.token_ids, s.logprobs, s.sampler_logprobs, s.finish_reason, verdict)
            for s, verdict in zip(samples, LastInteger().judge(answers), strict=True)
        ]
        forests.append((RolloutTree(problem, prompt).grown(*branches),))
    return forests


def accuracy(examiner: Examiner, problems: Sequence[Problem], temperature: float) -> list[int]:
    """Return 0 or 1 for each held-out problem."""
    return list(examiner.evaluate(problems, Sampling(temperature)).correct.values())


def main(steps: int, seed: int, num_test: int = 300) -> tuple[float, float]:
    """Train, and return the greedy accuracy before and after."""
    torch.set_num_threads(1)
    key = Key.of(seed)
    task = Multiplication(digits_a=3, digits_b=1)
    model = load_model("builtin:multiplication")
    adapter = Adapter(model, LoraSpec(rank=8, layers=1 / 3), key)  # q and v of the last 2 of 6 layers
    engine = InProcessEngine(model)
    credit, select, objective = PrefixGain(), BranchingPairs(), Likelihood()
    learner = Learner(adapter, objective, OptimiserSpec(LEARNING_RATE))

    examiner = Examiner(model, engine, LastInteger(), task.prompt, MAX_NEW_TOKENS, Key.of(1))
    test = task.held_out("test", num_test)
    before = accuracy(examiner, test, 0.0)

    for step in range(steps):
        problems = [task.training(key.at("problems"), step * PROBLEMS_PER_STEP + i) for i in range(PROBLEMS_PER_STEP)]
        forests = sample_trees(model, engine, task, problems, key.at("step", step))

        # A(v|p) = V(p + v) - V(p), V(p) the mean reward of the completions that start with p
        advantages = [tuple(credit.assign(tree) for tree in forest) for forest in forests]
        # 1 / |U| for each unique pair at a prefix where completions part, 0 elsewhere
        weights = [select.weigh(forest, a, key) for forest, a in zip(forests, advantages, strict=True)]
        signal = any(has_signal(a, w) for a, w in zip(advantages, weights, strict=True))

        # only the ancestors of a pair with an advantage are forwarded, each once
        batch = pack(forests, advantages, weights, keep_zero_advantage=False)
        if signal:
            learner.step(batch, key, LEARNING_RATE * (1 - 0.9 * step / steps))

        if step % 10 == 0 or step == steps - 1:
            rewards = np.mean([tree.rewards(tree.rewarded).mean() for (tree,) in forests])
            sampled = sum(len(branch.token_ids) for (tree,) in forests for branch in tree.branches)
            print(
                f"step {step:3d}  reward {rewards:.2f}  sampled {sampled} tokens, forwarded {batch.num_tokens}, "
                f"trained on {batch.num_terms}",
                flush=True,
            )

    after = accuracy(examiner, test, 0.0)
    change = paired_difference(before, after)
    for name, correct in (("before", before), ("after", after)):
        found = wilson(sum(correct), len(correct))
        low, high = found.interval.low, found.interval.high
        print(f"{name:6s}  greedy accuracy {found.value:.3f}  (95 % interval {low:.3f} to {high:.3f})")
    print(f"change  {change.value:+.3f}  p = {change.p_value:.1e}")
    return float(np.mean(before)), float(np.mean(after))


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=FutureWarning)
    parser = argparse.ArgumentParser(description="T-SPMO on 3-digit x 1-digit multiplication.")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    main(options.steps, options.seed)
