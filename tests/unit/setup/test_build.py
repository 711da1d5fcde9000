"""From a checked configuration to the machines: every number arrives, and what cannot be built says so."""

import json
from pathlib import Path

import pytest
import torch

from creditree.config.load import load_config, parse_config
from creditree.config.schema import RunConfig
from creditree.engines.engine import Sampling
from creditree.engines.in_process import InProcessEngine
from creditree.errors import ConfigError, DataError, ModelError
from creditree.models.adapter import Adapter, LoraSpec
from creditree.setup.build import build_lora, build_settings, build_task
from creditree.setup.grading import build_verifier
from creditree.setup.guard import guard_table
from creditree.setup.parts import build
from creditree.setup.resolve import resolve
from creditree.tasks.multiplication import Multiplication
from creditree.tasks.svamp import PROMPT as SVAMP_PROMPT
from creditree.tasks.table import Table
from creditree.tasks.task import PromptTemplate
from creditree.tasks.word_problems import WordProblems
from creditree.train.settings import Settings, Validation
from creditree.verify.isolated import IsolatedReward
from creditree.verify.last_integer import LastInteger
from creditree.verify.verifier import Answer, closing
from tests.forests import PROBLEM

ROOT = Path(__file__).parents[3]
ROWS = "".join(f'{{"question": "{n}+1=", "answer": "{n + 1}"}}\n' for n in range(40))


def parse(text: str, *overrides: str) -> RunConfig:
    return parse_config(text, "run.yaml", overrides)


def task_of(block: str) -> object:
    return build_task(parse(f"task: {block}").task)


@pytest.mark.parametrize(
    ("layers", "indices"),
    [("1/3", (19, 27)), ("1/4", (21, 27)), ("0.25", (21, 27)), ("1", (0, 27)), ("[3, 1]", (1, 3))],
)
def test_lora_layers(layers: str, indices: tuple[int, int]) -> None:
    spec = build_lora(parse(f"task: svamp\nlora: {{layers: {layers}}}").lora)
    found = spec.layer_indices(28)
    assert (found[0], found[-1]) == indices


def test_lora_numbers() -> None:
    block = "{rank: 4, alpha: 6, dropout: 0.1, layers: [2, 0], targets: [k_proj, up_proj]}"
    spec = build_lora(parse(f"task: svamp\nlora: {block}").lora)
    assert spec == LoraSpec(4, 6.0, 0.1, (2, 0), ("k_proj", "up_proj"))
    assert build_lora(parse("task: svamp").lora) == LoraSpec(8, None, 0.0, 1 / 3, ("q_proj", "v_proj"))


def test_multiplication() -> None:
    assert task_of("multiplication") == Multiplication()
    numbers = "digits_a: 4, digits_b: 2, range_b: [11, 99], num_held_out: 7"
    assert task_of(f"{{name: multiplication, {numbers}, prompt: {{text: '{{a}}x{{b}}'}}}}") == Multiplication(
        4, 2, None, (11, 99), 7, PromptTemplate("{a}x{b}")
    )


def test_word_problems() -> None:
    assert task_of("word_problems") == WordProblems()
    block = "{name: word_problems, kinds: [total], distractors: 0, num_held_out: 5, prompt: {chat: true, system: Hi}}"
    assert task_of(block) == WordProblems(("total",), 0.0, 5, PromptTemplate("{question}\n", chat=True, system="Hi"))


def test_svamp_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "svamp.jsonl"
    rows = [
        {"question": f"{n}+1=", "answers": [str(n + 1)], "split": "test" if n % 4 == 0 else "train"} for n in range(40)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = task_of(f"{{name: svamp, path: '{file}'}}")
    assert isinstance(task, Table)
    assert task.prompt.text == SVAMP_PROMPT
    assert len(task.held_out("test")) == 10


def test_a_file_task_passes_every_key_on(tmp_path: Path) -> None:
    file, held = tmp_path / "train.jsonl", tmp_path / "test.jsonl"
    file.write_text(ROWS.replace("question", "q").replace("answer", "label"))
    held.write_text(ROWS.replace("question", "q").replace("answer", "label").replace("+1=", "+2="))
    block = f"{{name: file, path: '{file}', test_path: '{held}', question: q, answer: label, validation: 0.3}}"
    task = task_of(block)
    assert isinstance(task, Table)
    assert len(task.held_out("test")) == 40
    assert 4 <= len(task.held_out("validation")) <= 20
    assert task.held_out("test")[0].question.endswith("+2=")
    with pytest.raises(DataError, match="no column 'answer'"):
        task_of(f"{{name: file, path: '{file}', question: q}}")


@pytest.mark.parametrize(
    ("block", "kind", "words"),
    [
        ("{name: multiplication, digits_a: 20}", ConfigError, "digits_a is 20"),
        ("{name: multiplication, range_a: [9, 1]}", ConfigError, "range_a is 9..1"),
        ("{name: multiplication, prompt: {text: '{c}'}}", ConfigError, "asks for {c}"),
        ("{name: multiplication, prompt: {text: 'no field'}}", ConfigError, "has no field"),
        ("{name: multiplication, prompt: {chat: false, system: Hi}}", ConfigError, "chat is off"),
        ("{name: word_problems, kinds: [totl]}", ConfigError, "Did you mean 'total'"),
        ("{name: file, path: nowhere.jsonl}", DataError, "does not exist"),
        ("{name: svamp, path: nowhere.csv}", DataError, "does not exist"),
    ],
)
def test_tasks_that_cannot_be_made(block: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as error:
        task_of(block)
    assert words in str(error.value)


def test_verifiers(tmp_path: Path) -> None:
    assert isinstance(build_verifier("last_integer"), LastInteger)
    file = tmp_path / "rewards.py"
    file.write_text("def length(prompts, completions, **columns):\n    return [float(len(c)) for c in completions]\n")
    with closing(build_verifier(f"{file}:length")) as verifier:
        assert isinstance(verifier, IsolatedReward)
        assert verifier.judge([Answer(PROBLEM, "1+1=", "two")])[0].reward == 3.0
    for name in ("last_intger", "", "length"):
        with pytest.raises(ConfigError, match="set the name of a grader"):
            build_verifier(name)
    with pytest.raises(ConfigError, match="Did you mean 'length'"):
        build_verifier(f"{file}:lenght")


def test_settings_take_every_number() -> None:
    config = parse(
        "task: svamp\nseed: 4\n"
        "sampling: {temperature: 0.7, top_p: 0.9, max_new_tokens: 33}\n"
        "train: {steps: 12, cpu_seconds: 5, seconds: 6, problems_per_step: 3, learning_rate: 0.01, "
        "final_learning_rate: 0.2}\n"
        "validation: {every: 2, problems: 9, temperature: 0.4, patience: 6}\n"
        "evaluation: {split: validation, problems: 8, temperatures: [1, 0]}\n"
        "log: {checkpoint_every: 7, rollouts_every: 11}"
    )
    assert build_settings(config) == Settings(
        seed=4,
        steps=12,
        cpu_seconds=5.0,
        seconds=6.0,
        problems_per_step=3,
        learning_rate=0.01,
        final_learning_rate=0.2,
        sampling=Sampling(0.7, 0.9),
        max_new_tokens=33,
        validation=Validation(2, 9, 0.4, 6),
        evaluation_split="validation",
        evaluation_problems=8,
        evaluation_temperatures=(1.0, 0.0),
        checkpoint_every=7,
        rollouts_every=11,
    )


def test_the_parts_of_the_quickstart() -> None:
    parts = build(resolve(load_config(ROOT / "recipes" / "quickstart.yaml", ["seed=3", "train.max_rows=64"])))
    adapter = parts.learner.trained
    assert isinstance(adapter, Adapter)
    assert parts.model.name == "builtin:multiplication"
    assert adapter.layer_indices == (4, 5)
    assert adapter.spec.rank == 8
    assert {matrix.dtype for matrix in adapter.matrices} == {torch.float32}
    assert parts.method.name == "t-spmo"
    assert parts.learner.objective == parts.method.objective
    assert parts.learner.spec.learning_rate == 4e-3
    assert isinstance(parts.engine, InProcessEngine)
    assert parts.engine.max_rows == 64
    assert parts.task == Multiplication(3, 1)
    assert isinstance(parts.verifier, LastInteger)


def test_the_optimiser_takes_every_number() -> None:
    train = "{learning_rate: 0.5, betas: [0.1, 0.2], eps: 0.3, max_grad_norm: 0.4, micro_batch_tokens: 77}"
    learner = build(resolve(parse(f"task: multiplication\ntrain: {train}"))).learner
    spec = learner.spec
    assert (spec.learning_rate, spec.betas, spec.eps) == (0.5, (0.1, 0.2), 0.3)
    assert (spec.max_grad_norm, spec.micro_batch_tokens) == (0.4, 77)
    group = learner.optimiser.param_groups[0]
    assert (group["lr"], group["betas"], group["eps"], group["weight_decay"]) == (0.5, (0.1, 0.2), 0.3, 0.0)


def test_the_adapter_is_a_function_of_the_seed() -> None:
    first, same, other = (
        build(resolve(parse("task: multiplication", f"seed={seed}"))).learner.trained.state() for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("override", "kind", "words"),
    [
        ("lora.layers=[9]", ConfigError, "lora.layers names layer 9, but the model has layers 0 to 5"),
        ("lora.targets=[q_prj]", ConfigError, "Did you mean 'q_proj'?"),
        ("model.name=builtin:multiplicatoin", ModelError, "Did you mean 'builtin:multiplication'?"),
        ("model.device=gpu", ConfigError, "model.device is 'gpu', which torch does not know; set cpu or cuda."),
        ("reward=nowhere.py:judge", ConfigError, "nowhere.py"),
        ("sampling.max_new_tokens=4096", ConfigError, "lower sampling.max_new_tokens or shorten the prompt"),
    ],
)
def test_parts_that_cannot_be_built(override: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind) as error:
        build(resolve(parse("task: multiplication", override)))
    assert words in str(error.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match="torch finds no CUDA device here; set cpu"):
        build(resolve(parse("task: multiplication", "model.device=cuda")))


def test_a_missing_column_is_named_by_the_setting_of_its_block(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"frage": "1+1=", "answer": "2"}\n')
    task = parse_config(f"task: {{name: file, path: {path}}}", "run.yaml").task
    with pytest.raises(DataError, match=r"name the column that holds it with task\.question\."):
        build_task(task)
    guard = parse_config(f"task: multiplication\nguard: {{path: {path}}}", "run.yaml").guard
    with pytest.raises(DataError, match=r"name the column that holds it with guard\.question\."):
        guard_table(guard, PromptTemplate())
