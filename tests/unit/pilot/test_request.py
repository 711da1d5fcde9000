"""The runs that follow from what a pilot is asked for, and what is taken where memory is short. Nothing is loaded."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from creditree.config.load import dump_config
from creditree.errors import ConfigError
from creditree.models.shapes import Shape
from creditree.pilot import request as pilot
from creditree.pilot.graders import NARROW, WIDE
from creditree.pilot.outlook import GROUPS
from creditree.pilot.request import (
    BARE,
    Files,
    Frame,
    Request,
    Setting,
    check_overrides,
    default_prompt,
    fitted,
    precisions,
    preferred_precision,
    run_config,
    settings_to_try,
    threads_for,
)
from creditree.plan import workload
from creditree.plan.fit import choose, largest_group
from creditree.setup.defaults import HIGHEST_RATE, KNOWN_RATE, SMALL
from creditree.setup.machine import Precision
from creditree.setup.workload import free_of, workload_of
from creditree.tasks.wording import WORDINGS

FILES = Files(Path("p.jsonl"), Path("p-validation.jsonl"), Path("p-test.jsonl"))
FRAME = Frame("last_integer", "{question}\n", False, "bfloat16", None, 512, temperature=0.7)
GB = 10**9


def request(memory: float = 100, **values: Any) -> Request:
    given: dict[str, Any] = {"model": "random:qwen2-1.5b", "device": "cpu", "budget_s": 600.0} | values
    return Request(problems=Path("p.csv"), out=Path("out"), memory=int(memory * GB), **given)


def shape(num_parameters: int) -> Shape:
    """Return a shape of exactly so many parameters: all in the embedding, of width 1, and the last norm."""
    return Shape(0, 1, 1, 1, 1, 1, num_parameters - 1, 128)


def test_settings_by_size() -> None:
    # The rate at that size is 0.005, a third of it 0.0017.
    assert settings_to_try(600_000) == (
        Setting("t-spmo", 0.005),
        Setting("grpo", 0.005),
        Setting("t-spmo", 0.0017),
        Setting("grpo", 0.0017),
    )
    # A pretrained model: what gained most on one, and the baseline.
    assert [one.method for one in settings_to_try(SMALL)] == ["s-grpo", "grpo", "s-grpo", "grpo"]
    # The paper's own size and rate.
    assert {one.learning_rate for one in settings_to_try(1_500_000_000)} == {1e-4, 3.3e-5}
    assert settings_to_try(10)[0].learning_rate == HIGHEST_RATE
    assert settings_to_try(10**13)[0].learning_rate == KNOWN_RATE
    assert Setting("grpo", 0.0017).name == "grpo, learning rate 0.0017"


def test_wording_by_model_and_grader() -> None:
    assert default_prompt("builtin:multiplication", "math") == (BARE, False)
    for grader in (*NARROW, *WIDE):
        text, chat = default_prompt("Qwen/Qwen2-1.5B", grader)
        assert (text, chat) == (WORDINGS[grader], "auto")
        assert text.format(question="Why?").startswith("Why?")
    assert default_prompt("Qwen/Qwen2-1.5B", "mine.py:score") == ("{question}\n", "auto")


@pytest.mark.parametrize(
    ("device", "parameters", "dtype", "threads"),
    [
        ("cpu", SMALL, "float32", 1),
        ("cpu", SMALL + 1, "bfloat16", None),
        ("cuda", 600_000, "bfloat16", None),
        ("cuda:1", SMALL + 1, "bfloat16", None),
    ],
)
def test_small_models_on_a_cpu_are_float32_in_one_thread(
    monkeypatch: pytest.MonkeyPatch, device: str, parameters: int, dtype: str, threads: int | None
) -> None:
    monkeypatch.setattr(pilot, "fastest_precision", lambda device, shape: Precision("bfloat16", "it is"))
    of = shape(parameters)
    assert of.num_parameters == parameters
    assert preferred_precision(request(device=device), of) == dtype
    assert threads_for(request(device=device), of) == threads
    assert preferred_precision(request(device=device, dtype="nf4"), of) == "nf4"
    monkeypatch.setattr(pilot, "fastest_precision", lambda device, shape: Precision("float32", "products are slow"))
    assert preferred_precision(request(), shape(SMALL + 1)) == "float32"


def test_a_run_s_configuration() -> None:
    asked = request(seed=3, question="q", answer="a", overrides=("lora.rank=4",))
    frame = replace(FRAME, group=8, problems_per_step=2, threads=1)
    blocks = {"evaluation": {"problems": 33, "temperatures": [0.0]}}
    config = run_config(asked, FILES, frame, Setting("t-spmo", 0.005), 61.26, blocks)
    assert (config.seed, config.model.name, config.model.dtype, config.lora.rank) == (3, asked.model, "bfloat16", 4)
    task: Any = config.task
    assert (task.path, task.validation_path, task.test_path) == ("p.jsonl", "p-validation.jsonl", "p-test.jsonl")
    assert (task.question, task.answer, task.prompt.text, task.prompt.chat) == ("q", "a", "{question}\n", False)
    assert (config.sampling.temperature, config.sampling.max_new_tokens) == (0.7, 512)
    assert (config.method.name, config.method.group, config.method.loss_temperature) == ("t-spmo", 8, 0.7)
    assert (config.method.l2, config.method.kl) == (0.0, 0.0)  # every key is explicit
    train = config.train
    assert (train.seconds, train.learning_rate, train.problems_per_step, train.threads) == (61.3, 0.005, 2, 1)
    assert (train.memory, train.steps) == ("100000MB", 100_000)
    assert config.evaluation.problems == 33
    early = run_config(asked, FILES, replace(frame, max_new_tokens=60), Setting("s-grpo", 0.005), 1.0, {})
    assert (early.method.alpha, early.method.k, early.method.kl) == (5, 10, 0)  # 60 x 25 / 300, 60 x 50 / 300
    grpo = run_config(asked, FILES, frame, Setting("grpo", 0.005), 1.0, {})
    assert (grpo.method.l2, grpo.method.kl) == (0.0, 0.0)
    assert "kl: 0.0" in dump_config(grpo)


def test_an_override_that_makes_no_run_is_one_sentence() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.stepz'") as error:
        run_config(request(overrides=("train.stepz=4",)), FILES, FRAME, Setting("grpo", 0.1), 1.0, {})
    assert "\n" not in str(error.value)


def fit(asked: Request) -> Frame:
    """What fits of the frame, in the precisions that may be tried."""
    return fitted(asked, FILES, FRAME, 100, precisions(asked, FRAME))


@pytest.mark.parametrize(("memory", "dtype"), [(100, "bfloat16"), (3.2, "int8"), (2, "nf4")])
def test_a_smaller_precision_is_taken_where_memory_is_short(memory: float, dtype: str) -> None:
    # Qwen2-1.5B takes 3.1 GB in bfloat16, 1.8 in int8 and 1.1 in nf4, besides what a step holds.
    asked = request(memory)
    found = fit(asked)
    assert found == replace(FRAME, dtype=dtype)
    for method in ("grpo", "t-spmo"):
        config = run_config(asked, FILES, found, Setting(method, 1e-4), 1.0, {})
        work, _ = workload_of(config, 100)
        assert choose(work, asked.memory, free_of(config.train)) is not None


@pytest.mark.parametrize(("memory", "group"), [(4.45, 16), (4.05, 8), (3.8, 4)])
def test_a_smaller_group_is_taken_where_that_is_what_memory_needs(
    memory: float, group: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With keys and values of a whole step held, replays too, groups of 16 need 4.42 GB, of 8 3.99, of 4 3.78.

    On a processor that multiplies bfloat16; others widen, which takes some 80 MB.
    """
    monkeypatch.setattr(workload, "multiplies_bfloat16", lambda: True)
    asked = request(memory, dtype="bfloat16", overrides=("train.stored_tokens=null",))
    found = fit(asked)
    assert found == replace(FRAME, group=group)
    config = run_config(asked, FILES, FRAME, Setting("t-spmo", 1e-4), 1.0, {})
    most = largest_group(workload_of(config, 100)[0], asked.memory, free_of(config.train))
    assert most is not None
    assert group == max(size for size in GROUPS if size <= most)
    # A smaller group is taken before a smaller precision.
    assert fit(replace(asked, dtype=None)).dtype == "bfloat16"


def test_where_nothing_fits_one_sentence_says_so() -> None:
    for dtype in (None, "bfloat16"):
        with pytest.raises(ConfigError) as error:
            fit(request(1, dtype=dtype))
        sentence = str(error.value)
        assert sentence.startswith("the run needs ")
        assert "more than the limit of 1.00 GB" in sentence
        assert "raise `memory`" in sentence
        assert "are weights of the base model" in sentence
        assert "\n" not in sentence
    # A precision that was asked for is not exchanged, though a smaller one would fit.
    with pytest.raises(ConfigError, match=r"model\.dtype: nf4"):
        fit(request(2, dtype="bfloat16"))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed=7", "use `seed`"),
        ("model.dtype=int8", "`dtype`"),
        ("task.path=other.csv", "change the table"),
        ("evaluation.split=validation", "the test is the pilot's own"),
        ("method.group=4", "by what the base model does"),
        ("method={name: grpo}", "method.name"),
        ("sampling.max_new_tokens=9", "`max_new_tokens`"),
        ("train.seconds=9", "`budget`"),
        ("train={steps: 4}", "train.seconds"),
    ],
)
def test_keys_that_the_pilot_sets_are_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=r"^`overrides` .*: a pilot sets .* itself") as raised:
        check_overrides((override,))
    assert words in str(raised.value)


def test_keys_that_are_free_pass() -> None:
    check_overrides(
        ("train.learning_rate=0.01", "lora.rank=4", "method.successes=0", "train.steps=5", "guard.target=w")
    )
