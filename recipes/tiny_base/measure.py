"""Accuracy of a base model on held-out problems: ``python -m recipes.tiny_base.measure DIR``."""

import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from creditree.problem import Problem
from creditree.tasks import Multiplication, Task, WordProblems
from creditree.verify import Answer, LastInteger

TASKS: dict[str, tuple[Task, ...]] = {
    "multiplication": (Multiplication(3, 1), Multiplication(4, 1)),
    "word_problems": (WordProblems(),),
}
TEMPERATURES = (0.0, 0.3, 0.7, 1.0)
LONGEST = 64


def completions(directory: Path, prompts: Sequence[str], temperature: float, batch: int = 100) -> list[str]:
    """Return one completion a prompt, at most 64 tokens; temperature 0 is greedy."""
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
            max_new_tokens=LONGEST,
            **(sampling if temperature > 0 else greedy),
        )
        texts += tokenizer.batch_decode(out[:, inputs.input_ids.shape[1] :], skip_special_tokens=True)
    return texts


def accuracy(directory: Path, task: Task, problems: Sequence[Problem], temperature: float) -> float:
    """Return the share of `problems` whose completion ends with the right integer."""
    prompts = [task.prompt.render(problem) for problem in problems]
    texts = completions(directory, prompts, temperature)
    answers = [Answer(*triple) for triple in zip(problems, prompts, texts, strict=True)]
    return sum(verdict.reward or 0.0 for verdict in LastInteger().judge(answers)) / len(problems)


def main(directory: Path) -> None:
    """Print a Markdown row of accuracies for each task of the model in `directory`, named like the model."""
    torch.set_num_threads(1)
    for task in TASKS[directory.name]:
        problems = task.held_out("test", 500)
        row = [f"{accuracy(directory, task, problems, temperature):.3f}" for temperature in TEMPERATURES]
        print(f"| {task.name} | {len(problems)} | {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
