"""Loss, accuracy and groups of a base model: ``python -m recipes.tiny_base.measure DIR``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from creditree.problem import Problem
from creditree.tasks import Multiplication, Task, WordProblems
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer
from recipes.tiny_base.train import IGNORED, RECIPES, batch_of

TASKS: dict[str, tuple[Task, ...]] = {
    "long_multiplication": (Multiplication(8, 1),),
    "multiplication": (Multiplication(3, 1), Multiplication(4, 1)),
    "word_problems": (WordProblems(),),
}
TEMPERATURES = (0.0, 0.3, 0.7, 1.0)
LONGEST = {"long_multiplication": 96, "multiplication": 64, "word_problems": 64}
GROUP = 6
GROUP_TEMPERATURES = (0.6, 1.0)
GROUP_PROBLEMS = 200
LOSS_BATCHES = 20


@dataclass(frozen=True, slots=True)
class Groups:
    """Of `GROUP` completions a problem: share right, share of problems with both outcomes, mean lines and tokens."""

    accuracy: float
    mixed: float
    lines: float
    tokens: float


def completions(directory: Path, prompts: Sequence[str], temperature: float, batch: int = 100) -> list[str]:
    """Return one completion a prompt, at most `LONGEST` tokens; temperature 0 is greedy."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    sampling = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    texts: list[str] = []
    for start in range(0, len(prompts), batch):
        inputs = tokenizer(list(prompts[start : start + batch]), return_tensors="pt", padding=True)
        greedy = {"do_sample": False}
        out = model.generate(
            inputs.input_ids,
            attention_mask=inputs.attention_mask,
            max_new_tokens=LONGEST[directory.name],
            **(sampling if temperature > 0 else greedy),
        )
        texts += tokenizer.batch_decode(out[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return texts


def rewards(problems: Sequence[Problem], prompts: Sequence[str], texts: Sequence[str]) -> list[float]:
    """Return 1 for each completion that ends with the right integer, else 0."""
    answers = [Answer(*triple) for triple in zip(problems, prompts, texts, strict=True)]
    return [verdict.reward or 0.0 for verdict in LastInteger().judge(answers)]


def accuracy(directory: Path, task: Task, problems: Sequence[Problem], temperature: float) -> float:
    """Return the share of `problems` whose completion ends with the right integer."""
    prompts = [task.prompt.render(problem) for problem in problems]
    return sum(rewards(problems, prompts, completions(directory, prompts, temperature))) / len(problems)


def groups(directory: Path, task: Task, problems: Sequence[Problem], temperature: float) -> Groups:
    """Return what groups of `GROUP` completions of each problem are like."""
    repeated = [problem for problem in problems for _ in range(GROUP)]
    prompts = [task.prompt.render(problem) for problem in repeated]
    texts = completions(directory, prompts, temperature)
    right = torch.tensor(rewards(repeated, prompts, texts)).view(-1, GROUP)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    return Groups(
        accuracy=float(right.mean()),
        mixed=float((right.amin(1) < right.amax(1)).float().mean()),
        lines=sum(text.count("\n") + 1 for text in texts) / len(texts),
        tokens=sum(len(tokenizer.encode(text)) + 1 for text in texts) / len(texts),
    )


@torch.no_grad()
def corpus_loss(directory: Path) -> float:
    """Return the mean loss, in nats a completion token, on batches that come after the last one of the training."""
    recipe = RECIPES[directory.name]
    tokenizer = recipe.tokenizer()
    model = AutoModelForCausalLM.from_pretrained(directory).eval()
    loss, count = 0.0, 0
    for step in range(recipe.num_steps, recipe.num_steps + LOSS_BATCHES):
        ids, labels = batch_of(recipe, tokenizer, step)
        logits, wanted = model(ids).logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        loss += torch.nn.functional.cross_entropy(logits, wanted, ignore_index=IGNORED, reduction="sum").item()
        count += int((wanted != IGNORED).sum())
    return loss / count


def main(directory: Path) -> None:
    """Print the loss and Markdown rows, of accuracies and of groups, for the model in `directory`, named like it."""
    torch.set_num_threads(1)
    print(f"loss {corpus_loss(directory):.4f}", flush=True)
    for task in TASKS[directory.name]:
        problems = task.held_out("test", 500)
        row = [f"{accuracy(directory, task, problems, temperature):.3f}" for temperature in TEMPERATURES]
        print(f"| {task.name} | {len(problems)} | {' | '.join(row)} |", flush=True)
    for task in TASKS[directory.name]:
        problems = task.held_out("test", GROUP_PROBLEMS)
        for temperature in GROUP_TEMPERATURES:
            found = groups(directory, task, problems, temperature)
            print(
                f"| {task.name} | {temperature} | {found.accuracy:.3f} | {found.mixed:.3f} "
                f"| {found.lines:.1f} | {found.tokens:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
