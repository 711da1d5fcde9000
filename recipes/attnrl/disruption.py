"""Does it hurt to hide a step from those after it, and which steps hurt most (arXiv 2509.26628, section 3.1)?

    python -m recipes.attnrl.disruption [--problems 500]

Of each test problem one completion is sampled at T = 1; of those that are right, one step is hidden from all that
follows: the attention paid to its tokens is set to 0 after the softmax, and is not renormalised. What follows is then
drawn again, greedily; and what its log-probability loses is taken. Steps are chosen by influence (one of the top fifth
of their completion, or one of the others), by entropy (one of the fifth with the most uncertain tokens), and by place;
a control hides nothing. Writes results/disruption.json.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from creditree.engines.engine import Sample, SampleRequest, Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.evaluate.prompt import prompt_ids
from creditree.evaluate.statistics import bootstrap_mean, wilson
from creditree.influence import step_scores
from creditree.models.load import Model, load_model
from creditree.rng import Key
from creditree.runs.environment import describe_environment
from creditree.signals import InfluenceSpec, Signals
from creditree.steps import Separators, Step, split_steps
from creditree.tasks.multiplication import Multiplication
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer

RESULTS = Path(__file__).resolve().parent / "results"
MODEL, BUDGET, DELTA, TOP, BINS, ROWS = "builtin:long_multiplication", 96, 2, 0.2, 5, 64
CONTROL = "nothing hidden"


class HidingPlan:
    """Causal attention in which queries from `after` [B] on pay none to the tokens [start, after) of their row."""

    def __init__(self, start: Tensor, after: Tensor) -> None:
        self.start, self.after = start, after

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float) -> Tensor:
        """Return softmax(scaling Q K^T + causal) V without the hidden columns, not renormalised."""
        shared = query.shape[1] // key.shape[1]
        key, value = key.repeat_interleave(shared, dim=1), value.repeat_interleave(shared, dim=1)
        scores = scaling * query @ key.transpose(2, 3)
        at = torch.arange(query.shape[2])
        scores.masked_fill_(at[:, None] < at, float("-inf"))
        later = at[:, None] >= self.after[:, None, None]
        hidden = (at >= self.start[:, None, None]) & (at < self.after[:, None, None])
        return scores.softmax(-1).masked_fill((later & hidden)[:, None], 0.0) @ value


@dataclass(frozen=True, eq=False, slots=True)
class Trial:
    """A right completion and the step that is hidden: tokens [start, stop) of it; none where they are equal."""

    number: int
    prompt: list[int]
    completion: list[int]
    step: Step


@torch.no_grad()
def redrawn(model: Model, trials: list[Trial]) -> list[list[int]]:
    """Return the completions with everything after the hidden step drawn again, greedily."""
    transformer, ends = model.transformer, model.eos_ids
    rows = [[*trial.prompt, *trial.completion[: trial.step[1]]] for trial in trials]
    starts = torch.tensor([len(trial.prompt) + trial.step[0] for trial in trials])
    after = torch.tensor([len(row) for row in rows])
    plan, going = HidingPlan(starts, after), list(range(len(rows)))
    longest = [len(trial.prompt) + BUDGET for trial in trials]
    while going:
        width = max(len(row) for row in rows)
        ids = torch.tensor([row + [ends[0]] * (width - len(row)) for row in rows])
        hidden = transformer.embed(ids)
        rope = transformer.rope(hidden, torch.arange(width)[None].expand(len(rows), -1))
        states = transformer.layers(hidden, rope, plan)[torch.arange(len(rows)), torch.tensor([*map(len, rows)]) - 1]
        chosen = transformer.logits(transformer.norm(states)).argmax(-1).tolist()
        for index in going:
            rows[index].append(chosen[index])
        going = [index for index in going if chosen[index] not in ends and len(rows[index]) < longest[index]]
    return [row[len(trial.prompt) :] for row, trial in zip(rows, trials, strict=True)]


@torch.no_grad()
def rest_logprob(model: Model, trial: Trial) -> float:
    """Return the mean log-probability, in nats a token, of what followed the step, given what it can see."""
    transformer = model.transformer
    row = [*trial.prompt, *trial.completion]
    first = len(trial.prompt) + trial.step[1]
    hidden = transformer.embed(torch.tensor([row]))
    rope = transformer.rope(hidden, torch.arange(len(row))[None])
    plan = HidingPlan(torch.tensor([len(trial.prompt) + trial.step[0]]), torch.tensor([first]))
    states = transformer.layers(hidden, rope, plan)[0, first - 1 : -1]
    logprobs = transformer.logits(transformer.norm(states)).log_softmax(-1)
    return float(logprobs.gather(1, torch.tensor(row[first:])[:, None]).mean())


def chosen_steps(sample: Sample, separators: Separators, key: Key) -> dict[str, Step]:
    """Return the step that each rule hides. The last `DELTA` steps have no influence and are never chosen."""
    steps = split_steps(sample.token_ids, separators)
    if sample.influence is None or sample.entropies is None or len(steps) < BINS + DELTA:
        return {}
    scores = step_scores(sample.influence, steps)[:-DELTA]
    doubt = np.array([sample.entropies[start:stop].max() for start, stop in steps[:-DELTA]])
    count = max(1, round(TOP * len(scores)))
    ranked = np.argsort(-scores, kind="stable")
    pools = {
        "influence, top fifth": ranked[:count],
        "influence, others": ranked[count:],
        "entropy, top fifth": np.argsort(-doubt, kind="stable")[:count],
    }
    found = {name: steps[int(pool[key.at(name).integer(0, len(pool) - 1)])] for name, pool in pools.items()}
    for place, part in enumerate(np.array_split(np.arange(len(scores)), BINS)):
        found[f"place {place + 1} of {BINS}"] = steps[int(part[key.at("place", place).integer(0, len(part) - 1)])]
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, task, verifier = load_model(MODEL), Multiplication(8, 1), LastInteger()
    separators = model.separators(("\n",))
    signals = Signals(entropies=True, influence=InfluenceSpec(separators, DELTA))
    problems = task.held_out("test", options.problems)
    prompts = [prompt_ids(task.prompt, problem, model) for problem in problems]
    requests = [
        SampleRequest(prompt, (Key.of(1).at(index),), BUDGET, len(prompt), signals)
        for index, prompt in enumerate(prompts)
    ]
    samples = [found[0] for found in InProcessEngine(model).sample(requests, Sampling(1.0))[0]]

    def right(indices: list[int], completions: list[Any]) -> list[bool]:
        texts = (model.text(ids) for ids in completions)
        answers = [
            Answer(problems[i], task.prompt.render(problems[i]), text) for i, text in zip(indices, texts, strict=True)
        ]
        return [verdict.reward == 1.0 for verdict in verifier.judge(answers)]

    everything = list(range(len(samples)))
    solved = [i for i, ok in zip(everything, right(everything, [s.token_ids for s in samples]), strict=True) if ok]
    trials: dict[str, list[Trial]] = {}
    for index in solved:
        steps = chosen_steps(samples[index], separators, Key.of(2).at(index))
        own = (index, prompts[index].tolist(), samples[index].token_ids.tolist())
        for name, step in steps.items():
            trials.setdefault(name, []).append(Trial(*own, step))
            trials.setdefault(f"{CONTROL}: {name}", []).append(Trial(*own, (step[1], step[1])))
    found = {}
    for name, held in trials.items():
        completions = [row for at in range(0, len(held), ROWS) for row in redrawn(model, held[at : at + ROWS])]
        kept = sum(right([trial.number for trial in held], completions))
        share = wilson(kept, len(held)).interval
        found[name] = {"right": kept, "of": len(held), "interval": [share.low, share.high]}
        if not name.startswith(CONTROL):
            seen = (replace(trial, step=(trial.step[1], trial.step[1])) for trial in held)
            lost = [rest_logprob(model, b) - rest_logprob(model, a) for a, b in zip(held, seen, strict=True)]
            mean = bootstrap_mean(lost, Key.of(3))
            found[name] |= {"nats_lost": mean.value, "nats_interval": [mean.interval.low, mean.interval.high]}
        print(name, found[name], flush=True)
    record = {
        "model": MODEL,
        "problems": len(problems),
        "solved": len(solved),
        "delta": DELTA,
        "still_right": found,
        "environment": describe_environment(),
    }
    (RESULTS / "disruption.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
