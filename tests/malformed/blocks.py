"""Configurations whose blocks go wrong in a known way: engines, pieces and tasks of one's own, lists, searches."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from creditree.config.schema import RunConfig
from tests.malformed.families import CONFIG, ROWS, SEARCH, written_table
from tests.malformed.outcomes import Case

AXES = ("explore", "credit", "select", "objective", "schedule")
CODE: Mapping[str, str] = {
    "no Python": "def (",
    "a tab and spaces": "if True:\n\tx = 1\n        y = 2\n",
    "no text": "\udcff\udcfe",
    "it ends the process": "raise SystemExit(0)",
    "it is interrupted": "raise KeyboardInterrupt",
    "it raises": "raise ValueError('\\x1b[2J first\\nsecond')",
    "it raises what cannot be shown": "class E(Exception):\n    def __str__(self): raise RuntimeError\nraise E",
    "it needs what is not there": "import no_such_module_at_all",
    "nothing of that name": "Other = 3\n",
    "a number": "Name = 3\n",
    "a function": "def Name(*a, **k): return None\n",
    "a class that is no piece": "class Name: pass\n",
    "a class of another axis": "from creditree.explore.group import Group\nfrom creditree.schedule.fixed import Fixed\n"
                               "Name = Fixed if __file__.endswith('explore.py') else Group\n",
    "a class that cannot be made": "class Name:\n    def __init__(self, x, y, z): pass\n",
    "a module that recurses": "def f(): f()\nf()\n",
}  # fmt: skip
"""Files of one's own that hold no piece."""
TASKS: Mapping[str, str] = {
    "it yields nothing": "def f(): return []\n",
    "it yields without end": "def f():\n    n = 0\n    while True:\n        n += 1\n        yield str(n), n\n",
    "it yields one problem without end": "def f():\n    while True:\n        yield '1+1', 2\n",
    "it is no function": "f = 3\n",
    "it is a text": "def f(): return 'text'\n",
    "it is a mapping": "def f(): return {'question': 'x'}\n",
    "it wants arguments": "def f(x): return []\n",
    "it raises": "def f():\n    yield '1', 1\n    raise ValueError('\\u202e')\n",
    "it leaves": "def f():\n    raise SystemExit(0)\n    yield\n",
    "threes": "def f(): return [(1, 2, 3)]\n",
    "numbers": "def f(): return [1, 2]\n",
    "no question": "def f(): return [{'answer': 1}]\n",
    "no answer": "def f(): return [('x', None)]\n",
    "a set as answer": "def f(): return [('x', {1})]\n",
    "bytes": "def f(): return [(b'x', b'1')]\n",
    "objects": "def f(): return [(object(), object())]\n",
    "half characters": "def f(): return [('\\ud800', '1')]\n",
    "two answers": "def f(): return [('x', 1), ('x', 2)]\n",
    "endless nesting": "def f():\n    a = []\n    a.append(a)\n    return [('x', a)]\n",
    "a huge question": "def f(): return [('x' * 10**6, 1)]\n",
}
URLS: tuple[Any, ...] = (
        "", "x", "127.0.0.1", "ftp://x", "http://", "http://user:secret@x", "http://x?y", "http://[::1", "file:///etc",
        "http://x\r\ny", "http://" + "x" * 5000, "http://\u202e", 5, None, [], True, "http://x:99999999")  # fmt: skip
_SERVER = {"name": "vllm", "url": "http://x"}
ENGINES: tuple[Any, ...] = (
    {"name": "vllm"}, {"url": "http://x"}, {"name": "nothing"}, "vllm", 3, [], {"name": "vllm", "x": 1},
    _SERVER | {"timeout_s": 0}, _SERVER | {"canary_limit": -1}, _SERVER | {"connections": 10**9},
    _SERVER | {"adapters": ""}, _SERVER | {"start": True}, {"name": "vllm", "start": {"options": "x"}},
    {"name": "vllm", "start": {"memory": 2}}, {"name": "llama_server", "url": "http://x"},
)  # fmt: skip
SCHEDULES: tuple[dict[str, Any], ...] = (
    {"name": "grpo", "schedule": "curriculum"},
    {"name": "grpo", "schedule": "curriculum", "column": ""},
    {"name": "grpo", "schedule": "curriculum", "column": "difficulty", "order": ["a", "a"]},
    {"name": "grpo", "schedule": "curriculum", "open_first": 0},
    {"name": "grpo", "schedule": "curriculum", "open_first": "x", "over": 0},
    {"name": "grpo", "schedule": "curriculum", "levels": [1]},
    {"name": "grpo", "schedule": "nothing"},
    {"name": "grpo", "schedule": ["curriculum"]},
    {"name": "grpo", "schedule": {"name": "curriculum"}},
    {"name": "grpo", "explore": "solution_prefix"},
    {"name": "grpo", "explore": ""},
    {"name": "grpo", "explore": None, "credit": 0},
    {"name": None},
    {"select": "everything"},
    {"name": "t-spmo", "credit": "prefix_gain", "explore": "attention"},
    {"name": "grpo", "group": [4, 6]},
    {"name": "grpo", "sampler_correction": "x"},
    {"name": "grpo", "kl_estimator": "k9"},
)
WARM: tuple[Any, ...] = (
    {"steps": 2}, {"steps": -1}, {"steps": 0, "problems": 3}, {"steps": 10**30}, {"problems": 0}, {"steps": 1,
    "x": 2}, 3, [],
    "x", {"steps": "2"}, {"steps": 2, "learning_rate": 0}, {"steps": 2, "learning_rate": float("nan")},
)  # fmt: skip
MIXTURES: tuple[Any, ...] = (
    [], {}, None, "multiplication", [None], [[]], ["nothing"], [3], [{"weight": 1}], [{"name": "multiplication",
    "weight": 0}],
    [{"name": "multiplication", "weight": -1}], [{"name": "multiplication", "weight": float("inf")}],
    [{"mixture": ["multiplication"]}], ["multiplication"] * 300, [{"name": "file"}], [{"name": "file",
    "path": "gone.csv"}],
    [{"name": "multiplication", "weight": 1e-300}, {"name": "word_problems", "weight": 1e300}], ["svamp", "f.py:"],
)  # fmt: skip
REWARDS: tuple[Any, ...] = (
    [], [[]], [None], {}, [{}], ["nothing"], ["format"], [{"name": "format"}], ["math", {"name": "format",
    "pattern": "("}],
    ["math", {"name": "format", "pattern": "(a+)+$"}], ["math", {"name": "format", "pattern": "x" * 10**5}],
    ["math", {"name": "format", "weight": "x", "pattern": "a"}], ["math", {"name": "overlong", "cache": -1}],
    ["math"] * 500, ["math", "math"], {"rewards": []}, {"rewards": ["math"], "combine": "x"}, {"rewards": "math"},
    ["gone.py:f"], ["f.py:"], [":f"], ["os:no_such"], [{"name": "program"}], {"name": "numeric", "deadline": 0},
    {"name": "math", "memory": "1KB"}, {"name": "math", "memory": "999999999TB"}, ["cosine_length"],
    ["math", {"name": "cosine_length", "correct": [1]}], ["math", {"name": "repetition", "n": 0}],
)  # fmt: skip
COMPOSITIONS: tuple[dict[str, Any], ...] = (
    {"compositions": {}}, {"compositions": None}, {"compositions": []}, {"compositions": {"a": None}},
    {"compositions": {"": {}}},
    {"compositions": {"a": {}, "A": {}}}, {"compositions": {"a/b": {}, "a": {}}}, {"compositions": {"..": {},
    "a": {}}},
    {"compositions": {"\u202e": {}, "a": {}}}, {"compositions": {"x" * 500: {}, "a": {}}}, {"compositions": {1: {},
    "a": {}}},
    {"compositions": {"a": {"nothing": 1}, "b": {}}}, {"compositions": {"a": {"seed": 1}, "b": {}}},
    {"compositions": {"a": {"method.group": []}, "b": {}}}, {"compositions": {"a": {"method.select": "mine.py:Name"},
    "b": {}}},
    {"baseline": "z"}, {"baseline": None}, {"settings": 0}, {"settings": 10**9}, {"rungs": 0}, {"rungs": 99},
    {"eta": 1},
    {"eta": 10**9}, {"budget": {}}, {"budget": {"tokens": 1}}, {"budget": {"tokens": 10**30}},
    {"budget": {"seconds": -1}},
    {"budget": {"tokens": 1, "first_rung": 1}}, {"confirm": {"seeds": 10**9}}, {"confirm": {"level": 0}},
    {"grid": {}},
    {"space": {"train.learning_rate": {"low": 1, "high": 0}}}, {"space": {"train.learning_rate": {"low": 0,
    "high": 1, "scale":
     "log"}}}, {"space": {"train.learning_rate": {"low": "x"}}}, {"space": {"x": [1, 2]}},
     {"space": {"method": ["grpo"]}},
    {"space": {"train.learning_rate": {"low": 1e-320, "high": 1e300, "scale": "log"}}}, {"space": []}, {"cases": {}},
    {"space": {"train.problems_per_step": {"low": 1, "high": 10**12}}}, {"seed": -1}, {"base": None},
    {"base": "gone.yaml"},
)  # fmt: skip
GUARDS: tuple[Any, ...] = (
    {"path": "gone.csv"}, {"path": "good.csv", "problems": 0}, {"path": "good.csv", "target": "gone"},
    {"tolerance": 1},
    {"path": "good.csv", "question": "gone"}, {"path": "good.csv", "reward": "nothing"}, {"path": "/dev/zero"}, 3,
    {"path": "good.csv", "prompt": {"text": "{nothing}"}}, {"path": "good.csv", "prompt": {"text": "none"}},
)  # fmt: skip
OTHERS: tuple[dict[str, Any], ...] = (
    {"train": {"start": ""}}, {"train": {"start": "gone"}}, {"train": {"start": "/dev/zero"}},
    {"train": {"start": "good.csv"}},
    {"model": {"name": "gone.gguf"}}, {"model": {"name": "good.csv"}}, {"model": {"name": "good.csv/"}},
    {"model": {"name": "/"}},
    {"model": {"name": "random:nothing"}}, {"model": {"name": "builtin:"}}, {"model": {"trust_remote_code": True}},
    {"model": {"device": "cuda:99999999999"}}, {"model": {"device": "meta"}}, {"model": {"dtype": "float8"}},
    {"log": {"mirrors": ["nothing"]}}, {"lora": {"layers": "1/0"}}, {"lora": {"layers": [10**9]}},
    {"lora": {"layers": "9" * 999}},
    {"lora": {"targets": ["gone"]}}, {"lora": {"targets": ["q_proj"] * 5000}},
    {"evaluation": {"temperatures": [0] * 9999}},
    {"evaluation": {"temperatures": [n / 10**6 for n in range(20_000)]}}, {"train": {"memory": "1 elephant"}},
    {"validation": {"patience": 3}}, {"train": {"weights": "all", "x": 1}}, {"sampling": {"max_new_tokens": 10**15}},
)  # fmt: skip


def block_cases(folder: Path, start: int = 0, step: int = 1) -> Iterator[Case]:
    """Yield a case for each kind, or each so many-th."""
    for number, (kind, values, files) in list(enumerate(_kinds()))[start::step]:
        place = folder / f"block-{number}"
        place.mkdir(parents=True)
        written_table(place / "good.csv", ROWS)
        for name, text in files.items():
            (place / name).write_bytes(text.encode(errors="surrogateescape"))
        is_sweep = "base" in values
        name = "sweep.yaml" if is_sweep else "run.yaml"
        (place / name).write_bytes(yaml.safe_dump(values).encode(errors="surrogatepass"))
        if is_sweep:
            yield Case("search", kind, place, ("sweep", name, "--dry-run", "--json"), leaves=("sweep.json", "trials"))
        else:
            yield Case("block", kind, place, ("train", name, "--dry-run", "--json"), _is_config, leaves=("run",))


def _is_config(out: str) -> str:
    try:
        RunConfig.model_validate(json.loads(out)["config"])
    except (KeyError, ValueError) as error:
        return f"no configuration was printed: {str(error)[:200]}"
    return ""


def _kinds() -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Yield what goes wrong, the configuration, and the files beside it."""
    yield from _own_code()
    for url in URLS:
        yield f"engine.url {str(url)[:20]!r}", _with(engine={"name": "vllm", "url": url}, method="grpo"), {}
    for engine in ENGINES:
        yield f"engine {str(engine)[:40]}", _with(engine=engine, method="grpo"), {}
    for key, several in (("method", SCHEDULES), ("warm_start", WARM), ("guard", GUARDS), ("reward", REWARDS)):
        for value in several:
            yield f"{key} {str(value)[:40]}", _with(**{key: value}), {}
    for mixture in MIXTURES:
        yield f"mixture {str(mixture)[:40]}", _with(task={"mixture": mixture}), {}
    for other in OTHERS:
        values = deepcopy(CONFIG)
        for key, block in other.items():
            values[key] = values[key] | block if isinstance(values.get(key), dict) else block
        yield f"{str(other)[:40]}", values, {}
    for change in COMPOSITIONS:
        yield f"search {str(change)[:40]}", {"base": CONFIG, **SEARCH} | change, {}


def _own_code() -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    for axis in AXES:
        for kind, text in CODE.items():
            method = {"name": "grpo", axis: f"{axis}.py:Name"}
            yield f"{axis}: {kind}", _with(method=method), {f"{axis}.py": text}
        for location in (
            "gone.py:Name",
            "gone.py:",
            ":Name",
            "x.py",
            "no.such.module:Name",
            "os:path",
            "..py:x",
            "a b:c",
        ):
            yield f"{axis} is {location}", _with(method={"name": "grpo", axis: location}), {}
    for kind, text in TASKS.items():
        yield f"task: {kind}", _with(task="mine.py:f", method="grpo"), {"mine.py": text}
    for kind, text in CODE.items():
        yield f"task: {kind}", _with(task="mine.py:Name", method="grpo"), {"mine.py": text}


def _with(**blocks: Any) -> dict[str, Any]:
    return deepcopy(CONFIG) | blocks
