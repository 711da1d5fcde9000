"""Reading a configuration: defaults, overrides, round trips, and each mistake as one sentence with place and cure."""

from pathlib import Path

import pytest

from creditree.config.load import dump_config, load_config, parse_config
from creditree.config.overrides import apply_overrides
from creditree.config.schema import RunConfig
from creditree.config.task import FileConfig, MultiplicationConfig, SvampConfig
from creditree.errors import ConfigError

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "src" / "creditree" / "config" / "quickstart.yaml"
RECIPES = sorted(
    [
        *(ROOT / "recipes").glob("*.yaml"),
        *(path for name in ("token_efficient_rl", "real") for path in (ROOT / "recipes" / name).glob("*.yaml")),
        SHIPPED,
    ]
)


def parse(text: str, *overrides: str) -> RunConfig:
    return parse_config(text, "run.yaml", overrides)


def refusal(text: str, *overrides: str) -> str:
    """Return the sentence that refuses a configuration."""
    with pytest.raises(ConfigError) as error:
        parse(text, *overrides)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert sentence[-1] in ".?)"
    for word in ("pydantic", "ValidationError", "Config ", "instance of", "Value error"):
        assert word not in sentence
    return sentence


def test_defaults() -> None:
    config = parse("task: multiplication")
    assert config.task == MultiplicationConfig(name="multiplication", digits_a=3, digits_b=1, num_held_out=500)
    assert config.seed == 0
    assert config.reward.name == "last_integer"
    assert config.model.model_dump() == {
        "name": "builtin:multiplication",
        "dtype": "float32",
        "device": "cpu",
        "sharded": False,
    }
    assert config.method.name == "t-spmo"
    assert (config.lora.rank, config.lora.layers, config.lora.targets) == (8, "1/3", ["q_proj", "v_proj"])
    assert (config.sampling.temperature, config.sampling.top_p, config.sampling.max_new_tokens) == (0.5, 1.0, 64)
    assert (config.train.steps, config.train.learning_rate, config.train.betas) == (100, 1e-4, (0.9, 0.999))
    assert config.validation.every == 0
    assert config.evaluation.temperatures == [0.0, 0.3, 1.0]


@pytest.mark.parametrize("block", ["model", "lora", "method", "sampling", "train", "validation", "evaluation", "log"])
def test_a_block_without_any_key_is_its_defaults(block: str) -> None:
    assert parse(f"task: multiplication\n{block}:\n  # nothing here yet") == parse("task: multiplication")


def test_short_forms_name_the_block() -> None:
    short = parse("task: svamp\nmethod: s-grpo\nmodel: builtin:word_problems\nsampling: {max_new_tokens: 50}")
    assert short.task == SvampConfig(name="svamp")
    assert short.method.name == "s-grpo"
    assert short.model.name == "builtin:word_problems"


@pytest.mark.parametrize(
    ("text", "override", "same"),
    [
        ("task: multiplication", "task.digits_a=4", "task: {name: multiplication, digits_a: 4}"),
        ("task: {name: multiplication}", "task.digits_b=2", "task: {name: multiplication, digits_b: 2}"),
        ("task: multiplication", "task=word_problems", "task: word_problems"),
        ("task: multiplication", "task={name: svamp, path: a.jsonl}", "task: {name: svamp, path: a.jsonl}"),
        ("task: svamp", "task.prompt.text='{question}: '", "task: {name: svamp, prompt: {text: '{question}: '}}"),
        ("task: svamp", "method.group=16", "task: svamp\nmethod: {group: 16}"),
        ("task: svamp\nmethod:", "method.group=16", "task: svamp\nmethod: {group: 16}"),
        ("task: svamp\nmethod: grpo", "method.kl=0", "task: svamp\nmethod: {name: grpo, kl: 0}"),
        ("task: svamp", "method={name: s-grpo, k: 9, alpha: 2}", "task: svamp\nmethod: {name: s-grpo, k: 9, alpha: 2}"),
        ("task: svamp", "lora.layers=[0, 5]", "task: svamp\nlora: {layers: [0, 5]}"),
        ("task: svamp", "train.learning_rate=1e-3", "task: svamp\ntrain: {learning_rate: 0.001}"),
        ("task: svamp\ntrain: {threads: 2}", "train.threads=null", "task: svamp"),
        ("task: svamp", " seed = 7", "task: svamp\nseed: 7"),
        ("task: svamp", "reward=a.py:judge", "task: svamp\nreward: a.py:judge"),
    ],
)  # fmt: skip
def test_overrides_do_what_the_same_keys_in_the_file_do(text: str, override: str, same: str) -> None:
    assert parse(text, override) == parse(same)


def test_later_overrides_win_and_all_apply() -> None:
    config = parse("task: multiplication", "method.name=s-grpo", "method.alpha=3", "method.alpha=5", "method.k=9")
    assert (config.method.name, config.method.alpha, config.method.k) == ("s-grpo", 5, 9)


def test_overrides_leave_other_keys_alone() -> None:
    values = apply_overrides({"method": {"name": "grpo", "kl": 0.5}, "seed": 3}, ["method.group=4"])
    assert values == {"method": {"name": "grpo", "kl": 0.5, "group": 4}, "seed": 3}


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("method.group", ["`overrides` method.group", "key=value", "method.group=16"]),
        ("=16", ["`overrides` =16", "key=value"]),
        ("method..group=16", ["method..group", "empty part"]),
        (".group=16", [".group", "empty part"]),
        ("method.group=[1", ["`overrides` method.group=[1", "not valid YAML", "quote"]),
        ("seed.x=1", ["seed"]),
        ("task.digits_a.x=1", ["task.digits_a"]),
        ("sampling.top_p.x=1", ["sampling.top_p"]),
        ("lora.rank.x.y=1", ["lora.rank"]),
        ("train.betas.0=1", ["train.betas"]),
        ("methd.group=16", ["methd", "'method'"]),
        ("method.grup=16", ["method.grup", "'group'"]),
    ],
)
def test_overrides_that_cannot_be_meant_are_refused(override: str, words: list[str]) -> None:
    sentence = refusal("task: multiplication\nseed: 0\ntrain: {betas: [0.9, 0.99]}", override)
    for word in words:
        assert word in sentence


def test_an_override_below_a_value_of_the_file_is_refused() -> None:
    sentence = refusal("task: multiplication\nseed: 5", "seed.x=1")
    assert sentence == "`overrides` seed.x=1: 'seed' holds a value, not further keys."


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("methd: {}", ["unknown key 'methd'", "Did you mean 'method'?"]),
        ("xyzzy: 1", ["unknown key 'xyzzy'", "Known: engine, evaluation, guard, log, lora"]),
        ("model: {nme: x}", ["unknown key 'model.nme'", "'name'", "in model"]),
        ("lora: {rnk: 2}", ["unknown key 'lora.rnk'", "'rank'"]),
        ("method: {grup: 3}", ["unknown key 'method.grup'", "'group'"]),
        ("sampling: {temprature: 1}", ["unknown key 'sampling.temprature'", "'temperature'"]),
        ("train: {step: 5}", ["unknown key 'train.step'", "'steps'"]),
        ("validation: {evry: 5}", ["unknown key 'validation.evry'", "'every'"]),
        ("evaluation: {problem: 5}", ["unknown key 'evaluation.problem'", "'problems'"]),
        ("log: {rollout_every: 5}", ["unknown key 'log.rollout_every'", "'rollouts_every'"]),
        ("1: 2", ["unknown key '1'"]),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_known_one(text: str, words: list[str]) -> None:
    sentence = refusal(f"task: multiplication\n{text}")
    assert sentence.startswith("run.yaml")
    assert len(sentence) < 1000
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ("{name: multiplication, digit_a: 3}", ["unknown key 'task.digit_a'", "'digits_a'"]),
        ("{name: multiplication, prompt: {txt: x}}", ["unknown key 'task.prompt.txt'", "'text'", "in task.prompt"]),
        ("{name: word_problems, kind: [add]}", ["unknown key 'task.kind'", "'kinds'"]),
        ("{name: svamp, pth: x}", ["unknown key 'task.pth'", "'path'"]),
        ("{name: svamp, svamp: x}", ["unknown key 'task.svamp'"]),
        ("{name: file, path: x, anser: y}", ["unknown key 'task.anser'", "'answer'"]),
        ("{name: multiplicaton}", ["task.name is 'multiplicaton'", "Did you mean 'multiplication'?"]),
        ("multiplicaton", ["task.name is 'multiplicaton'", "Did you mean 'multiplication'?"]),
        ("{name: chess}", ["task.name is 'chess'", "gsm8k, math500, minerva, multiplication"]),
        ("{name: 3}", ["task.name is '3'"]),
        ("{digits_a: 3}", ["task.name is missing", "file, gsm8k, math500"]),
        ("3", ["task is 3", "block of keys"]),
        ("[multiplication]", ["task is ['multiplication']", "block of keys"]),
        ("", ["'task' is missing", "add it"]),
        ("{name: file}", ["'task.path' is missing", "add it"]),
        ("{name: file, path: x, conflicts: keep}", ["task.conflicts is 'keep'", "'error' or 'drop'"]),
        ("{name: file, path: x, test: 1.5}", ["task.test is 1.5", "less than or equal to 1"]),
        ("{name: file, path: 3}", ["task.path is 3", "string"]),
        ("{name: multiplication, digits_a: 0}", ["task.digits_a is 0", "greater than or equal to 1"]),
        ("{name: multiplication, range_a: [1]}", ["'task.range_a.1' is missing"]),
        ("{name: word_problems, kinds: add}", ["task.kinds is 'add'", "list"]),
        ("{name: word_problems, distractors: 2}", ["task.distractors is 2"]),
    ],
)  # fmt: skip
def test_mistakes_in_the_task_are_named_without_its_type(task: str, words: list[str]) -> None:
    sentence = refusal(f"task: {task}")
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("method: {name: tspmo}", ["method.name is 'tspmo'", "Did you mean 't-spmo'?"]),
        ("method: tspmo", ["method.name is 'tspmo'", "Did you mean 't-spmo'?"]),
        ("method: {name: ppo9}", ["method.name is 'ppo9'"]),
        ("method: {explore: goup}", ["method.explore is 'goup'", "'group'"]),
        ("method: {credit: prefixgain}", ["method.credit is 'prefixgain'", "'prefix_gain'"]),
        ("method: {select: everythin}", ["method.select is 'everythin'", "'everything'"]),
        ("method: {objective: dpo}", ["method.objective is 'dpo'", "policy_gradient."]),
        ("method: {group: many}", ["method.group is 'many'", "integer"]),
        ("method: {group: 2.5}", ["method.group is 2.5", "integer"]),
        ("method: {group: 1}", ["method.group is 1", "at least 2", "set 2 or more"]),
        ("method: {successes: -1}", ["method.successes is -1", "set 0 or more"]),
        ("method: {u_norm: some}", ["method.u_norm is 'some'", "'branching', 'all' or 'nonzero'"]),
        ("method: {kl: -1}", ["method.kl is -1", "set 0 or more"]),
        ("method: {kl: .nan}", ["method.kl is nan", "finite"]),
        ("method: {l2: -0.1}", ["method.l2 is -0.1", "set 0 or more"]),
        ("method: {loss_temperature: 0}", ["method.loss_temperature is 0", "above 0"]),
        ("method: {name: grpo, eps: 0}", ["method.eps is 0", "set a number above 0"]),
        ("method: {name: s-grpo, probability: 2}", ["method.probability is 2", "between 0 and 1"]),
        ("method: {name: s-grpo, alpha: 0, probability: 0}", ["no token could ever learn", "raise one"]),
        ("method: 3", ["method is 3", "block of keys"]),
        ("model: [x]", ["model is ['x']", "block of keys"]),
        ("model: {dtype: float16}", ["model.dtype is 'float16'", "'float32', 'bfloat16', 'int8' or 'nf4'"]),
        ("model: {sharded: some}", ["model.sharded is 'some'"]),
        ("model: {sharded: true, dtype: nf4}", ["model.dtype is nf4", "or remove model.sharded"]),
        ("model: {sharded: true}\ntrain: {weights: all}", ["train.weights is 'all'", "train.weights: adapter"]),
        ("model: {sharded: true}\nengine: {name: vllm, url: 'http://a:1'}", ["engine.name is 'vllm'", "in_process"]),
        ("lora: {rank: 0}", ["lora.rank is 0", "greater than or equal to 1"]),
        ("lora: {rank: x}", ["lora.rank is 'x'", "integer"]),
        ("lora: {dropout: 2}", ["lora.dropout is 2", "less than 1"]),
        ("lora: {dropout: 1}", ["lora.dropout is 1", "less than 1"]),
        ("lora: {rank: true}", ["lora.rank is True", "write the number"]),
        ("lora: {alpha: 1.0e+308}", ["lora.alpha is 1e+308", "float32"]),
        ("seed: true", ["seed is True", "write the number"]),
        ("seed: 123456789012345678901234", ["seed is 123456789012345678901234", "64 bits"]),
        ("seed: 2:30", ["line 2", "'2:30'", "base 60"]),
        ("seed: 0017", ["line 2", "'0017'", "base 8"]),
        (f"seed: {'7' * 5000}", ["line 2", "a number of 5,000 characters"]),
        ("train: {learning_rate: 1.0e+300}", ["train.learning_rate is 1e+300", "float32"]),
        ("train: {eps: 1.0e-300}", ["train.eps is 1e-300", "float32"]),
        ("train: {threads: 1000000000000}", ["train.threads", "less than or equal to 1024"]),
        ("train: {memory: 99999999999999999999TB}", ["train.memory", "more than any machine has"]),
        ("method: {l2: 1.0e+300}", ["method.l2 is 1e+300", "float32"]),
        ("method: {group: 1000000000}", ["3,000,000,000 completions", "lower method.group (it is 1,000,000,000)"]),
        ("train: {problems_per_step: 7000}", ["1,050,000 completions", "train.problems_per_step (it is 7,000)"]),
        ("sampling: {max_new_tokens: 2000000}", ["300,000,000 tokens", "sampling.max_new_tokens (it is 2,000,000)"]),
        ("method: {name: attnrl, points: 100000000}", ["what else method.explore samples"]),
        ("reward: {name: math, workers: 100000}", ["reward.workers", "less than or equal to 256"]),
        ("reward: {name: numeric, tolerance: true}", ["reward.tolerance is True", "write the number"]),
        ("evaluation: {temperatures: [0, 0.0]}", ["evaluation.temperatures", "the temperature 0 twice"]),
        ("evaluation: {temperatures: [0.7, 0.70000000001]}", ["the temperature 0.7 twice"]),
        ("evaluation: {problems: 1000000000}", ["evaluation.problems", "less than or equal to 1000000"]),
        ('model: {name: "a\\0b"}', ["model.name is 'a\\x00b'", "NUL"]),
        ('model: {name: "\\ud83d"}', ["half a character (\\ud83d)"]),
        (f"model: {{dtype: {'z' * 100_000}}}", ["model.dtype is 'zzz", "...", "'float32'"]),
        (f"{'k' * 1000}: 1", ["unknown key 'kkk", "Known: "]),
        ("train: " + "{a: " * 60 + "1" + "}" * 60, ["nested more than 50 levels"]),
        ("model: {name: &x [*x]}", ["an alias stands within what it repeats"]),
        ("lora: {alpha: 0}", ["lora.alpha is 0", "greater than 0"]),
        ("lora: {targets: []}", ["lora.targets is []", "at least 1"]),
        ("lora: {targets: q_proj}", ["lora.targets is 'q_proj'", "list"]),
        ("lora: {layers: []}", ["lora.layers is []", "names no layer"]),
        ("lora: {layers: a/b}", ["lora.layers is 'a/b'", "a fraction such as 1/3"]),
        ("lora: {layers: 1/0}", ["lora.layers is '1/0'", "a fraction such as 1/3"]),
        ("lora: {layers: 4/3}", ["lora.layers is '4/3'", "above 0 and at most 1"]),
        ("lora: {layers: 0}", ["lora.layers is 0", "above 0 and at most 1"]),
        ("lora: {layers: 3}", ["lora.layers is 3", "at most 1", "are a list"]),
        ("lora: {layers: [1, x]}", ["lora.layers is [1, 'x']", "whole numbers"]),
        ("lora: {layers: {last: 1}}", ["lora.layers is {'last': 1}", "list of layer indices"]),
        ("lora: {layers: true}", ["lora.layers is True", "list of layer indices"]),
        ("sampling: {temperature: 0}", ["sampling.temperature is 0", "greater than 0"]),
        ("sampling: {top_p: 0}", ["sampling.top_p is 0", "greater than 0"]),
        ("sampling: {top_p: 1.1}", ["sampling.top_p is 1.1", "less than or equal to 1"]),
        ("sampling: {max_new_tokens: 0}", ["sampling.max_new_tokens is 0"]),
        ("train: {mini_batch: 0}", ["train.mini_batch is 0"]),
        ("train: {weight_decay: -1}", ["train.weight_decay is -1"]),
        ("method: {name: grpo, objective: clipped, dual_clip: 0.5}", ["method.dual_clip is 0.5", "above 1"]),
        ("method: {name: grpo, objective: clipped, loss_temperature: 0.7}",
         ["method.loss_temperature is 0.7", "sampling.temperature 0.5"]),
        ("method: {name: grpo, clip_low: 0.1}", ["set method.objective: clipped"]),
        ("train: {steps: 0}", ["train.steps is 0", "greater than or equal to 1"]),
        ("train: {learning_rate: 0}", ["train.learning_rate is 0", "greater than 0"]),
        ("train: {learning_rate: .inf}", ["train.learning_rate is inf", "finite"]),
        ("train: {final_learning_rate: 1.5}", ["train.final_learning_rate is 1.5"]),
        ("train: {betas: [0.9]}", ["'train.betas.1' is missing"]),
        ("train: {betas: [0.9, 1]}", ["train.betas.1 is 1", "less than 1"]),
        ("train: {betas: [0.9, 0.9, 0.9]}", ["train.betas is [0.9, 0.9, 0.9]", "at most 2"]),
        ("train: 5", ["train is 5", "block of keys"]),
        ("validation: {patience: 0}", ["validation.patience is 0"]),
        ("evaluation: {temperatures: []}", ["evaluation.temperatures is []", "at least 1"]),
        ("evaluation: {temperatures: [0, x]}", ["evaluation.temperatures.1 is 'x'", "number"]),
        ("evaluation: {temperatures: [-1]}", ["evaluation.temperatures.0 is -1"]),
        ("log: {checkpoint_every: 0}", ["log.checkpoint_every is 0"]),
        ("seed: -1", ["seed is -1", "greater than or equal to 0"]),
        ("seed: x", ["seed is 'x'", "integer"]),
        ("reward: 3", ["reward is 3", "string"]),
    ],
)  # fmt: skip
def test_wrong_names_types_and_values_are_named_with_their_place(text: str, words: list[str]) -> None:
    sentence = refusal(f"task: multiplication\n{text}")
    assert sentence.startswith("run.yaml")
    assert len(sentence) < 1000
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    ("method", "limit", "refused"),
    [("{name: s-grpo, alpha: 65}", 64, True), ("{name: s-grpo, alpha: 64}", 64, False), ("s-grpo", 40, True)],
)
def test_alpha_beyond_a_completion_is_refused(method: str, limit: int, refused: bool) -> None:
    text = f"task: multiplication\nmethod: {method}\nsampling: {{max_new_tokens: {limit}}}"
    if not refused:
        assert parse(text).method.build().select.name == "early_and_random"
        return
    sentence = refusal(text)
    assert "method.alpha is" in sentence
    assert f"sampling.max_new_tokens = {limit}" in sentence
    assert "lower alpha, or set method.select: everything" in sentence


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("task: [1", 1),
        ("task: a: b", 1),
        ("task:\n\tname: x", 2),
        ("task: multiplication\nseed: 0\nreward: @x", 3),
        ("task: multiplication\nseed: 0\nseed: 1", 3),
        ("task: multiplication\nmethod:\n  group: 4\n  kl: 0\n  group: 5", 5),
    ],
)
def test_yaml_that_is_not_valid_is_refused_with_its_line(text: str, line: int) -> None:
    sentence = refusal(text)
    assert sentence.startswith(f"run.yaml is not valid YAML at line {line}: ")


def test_a_key_given_twice_is_refused_not_dropped() -> None:
    sentence = refusal("task: svamp\ntrain: {steps: 1}\ntrain: {learning_rate: 1}")
    assert "the key 'train' is given twice; keep one" in sentence


@pytest.mark.parametrize("text", ["", "# a remark only", "- task", "multiplication", "3", "null"])
def test_a_file_without_keys_is_refused(text: str) -> None:
    assert refusal(text) == "run.yaml holds no configuration: it must be a mapping with at least 'task'."


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty.yaml").write_text("")
    reasons = {
        "missing.yaml": "does not exist; give the path of a YAML file",
        "": "cannot be read (Is a directory); give the path of a YAML file",
        "empty.yaml/below": "cannot be read (Not a directory)",
        "binary.yaml": "cannot be read (it is not UTF-8 text)",
        "empty.yaml": "holds no configuration",
    }
    for name, reason in reasons.items():
        with pytest.raises(ConfigError) as error:
            load_config(tmp_path / name)
        assert reason in str(error.value)
        assert str(tmp_path / name) in str(error.value)
        assert "\n" not in str(error.value)


def test_a_mistake_in_a_file_is_named_with_its_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("task: multiplication\nsed: 3")
    with pytest.raises(ConfigError, match=r"mine\.yaml: unknown key 'sed'\. Did you mean 'seed'\?"):
        load_config(path)
    path.write_text("task: multiplication")
    assert load_config(path, ["seed=3"]).seed == 3


def test_recipes_are_found() -> None:
    assert len(RECIPES) >= 11
    assert {path.name for path in RECIPES} >= {"quickstart.yaml", "t_spmo_svamp.yaml", "tiny_grpo.yaml"}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_dumped_recipe_loads_back_to_the_same_run(path: Path) -> None:
    config = load_config(path)
    text = dump_config(config)
    again = parse_config(text, "dump")
    assert dump_config(again) == text
    assert again.method.build() == config.method.build()
    assert again.model_copy(update={"method": config.method}) == config


@pytest.mark.parametrize(
    "text",
    [
        "task: multiplication\nmethod: {name: grpo, l2: 0.5, l2_decoupled: true, std: false}",
        "task: multiplication\nmethod: {name: grpo, explore: replay, successes: 2, threshold: 0.5}",
        "task: multiplication\nmethod: {credit: prefix_gain, u_norm: all}\nlora: {layers: [5, 0], alpha: 3}",
        "task: {name: file, path: a.csv, answer: label, prompt: {text: 'Frage: {question}\\n', chat: true, system: Ä}}",
        "task: {name: word_problems, kinds: [total], distractors: 0}\ntrain: {cpu_seconds: 2.5, threads: 1}",
        "task: multiplication\nvalidation: {every: 5, patience: 2}\nseed: 12345678901234567890",
        "task: {name: multiplication, range_a: [101, 999]}\nlora: {layers: 0.5}\ntrain: {learning_rate: 1e-4}",
    ],
)
def test_a_dumped_configuration_loads_back_to_the_same_run(text: str) -> None:
    config = parse(text)
    again = parse_config(dump_config(config), "dump")
    assert dump_config(again) == dump_config(config)
    assert again.method.build() == config.method.build()
    assert again.model_copy(update={"method": config.method}) == config


def test_the_dump_has_every_block_and_no_key_that_the_method_does_not_use() -> None:
    dumped = dump_config(parse("task: {name: file, path: x.jsonl}\nmethod: grpo"))
    for block in set(RunConfig.model_fields) - {"engine"}:  # which is written where a server samples
        assert f"\n{block}:" in f"\n{dumped}"
    assert "early_and_random" not in dumped
    assert "alpha: null" in dumped  # lora.alpha, which a null resolves to 2 * rank
    assert "u_norm" not in dumped
    assert isinstance(parse_config(dumped, "dump").task, FileConfig)
