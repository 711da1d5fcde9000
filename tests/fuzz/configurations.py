"""What reads configurations: YAML, overrides, whole runs, sweeps and searches."""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import yaml

from creditree.config.load import check_config, dump_config, parse_config
from creditree.config.overrides import apply_overrides
from creditree.config.search import is_search, load_search
from creditree.config.sweep import load_sweep
from creditree.notation import NotationError, read_values
from tests.fuzz.oracle import law, refusing
from tests.malformed.families import CONFIG, LISTS, SEARCH

MOST_BYTES = 20_000


def notation(data: bytes) -> None:
    """What is read is read again from how PyYAML writes it."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    with refusing(NotationError):
        value = read_values(text)
        again = read_values(yaml.safe_dump(value, allow_unicode=True, sort_keys=False))
        law(repr(again) == repr(value), f"{value!r} is read again as {again!r}"[:1000])


def configuration(data: bytes) -> None:
    """A configuration that is accepted is accepted as it is written, and means the same."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return
    with refusing():
        written = dump_config(parse_config(text, "run.yaml"))
        again = dump_config(parse_config(written, "run.yaml"))
        law(again == written, f"it is written as {again} after {written}"[:2000])


def override(data: bytes) -> None:
    """A line each is an override of a configuration that is right."""
    lines = data.decode("utf-8", "surrogateescape").split("\n")[:4]
    with refusing():
        dump_config(check_config(apply_overrides(deepcopy(LISTS), lines), "run.yaml"))


def sweep(data: bytes) -> None:
    """The file of a sweep or a search."""
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"creditree-fuzz-{os.getpid()}.yaml"
    path.write_bytes(data[:MOST_BYTES])
    try:
        with refusing():
            if is_search(path):
                load_search(path)
            else:
                load_sweep(path)
    finally:
        path.unlink()


TARGETS: dict[str, Callable[[bytes], None]] = {
    "notation": notation, "configuration": configuration, "override": override, "sweep": sweep,
}  # fmt: skip
_SMALL = {"task": "multiplication"}
_OTHERS = (
    {"task": "svamp", "warm_start": {"steps": 3, "source": "answers"}},
    {
        "task": {"name": "file", "path": "a.csv", "validation": 0.2},
        "method": {"name": "grpo", "schedule": "curriculum"},
    },
    {"task": "word_problems", "engine": {"name": "vllm", "url": "http://127.0.0.1:1"}, "method": "grpo"},
    {"task": "m.py:f", "method": {"name": "grpo", "select": "mine.py:Last", "k": 3}, "reward": "judge.py:score"},
    {"task": "multiplication", "guard": {"path": "g.jsonl", "tolerance": 0.1}, "lora": {"layers": [0, 1]}},
)
SEEDS: dict[str, tuple[str, ...]] = {
    "notation": ("a: 1\nb: [1, 2.5, x, null, true]\n", "&a [1]\n", "{a: *b}", "a: 1:30", "010", "- !!binary aGk=",
                 "2020-01-01", "? [a]\n: b", "a: |\n  x\n  y\n", "'it''s'", '"\\u202e"', "<<: {a: 1}"),
    "configuration": tuple(yaml.safe_dump(one) for one in (_SMALL, CONFIG, LISTS, *_OTHERS)),
    "override": ("method.group=16", "reward.1.weight=0.5\ntask=svamp", "train.learning_rate=1e-4", "lora.layers=[0, 1]",
                 "task.mixture.0.weight=3", "reward=[math, {name: format, pattern: x}]", "method={name: grpo}\nseed=3"),
    "sweep": (yaml.safe_dump({"base": _SMALL, "grid": {"method.group": [4, 6]}, "seeds": [0, 1]}),
              yaml.safe_dump({"base": CONFIG, **SEARCH}),
              yaml.safe_dump({"base": _SMALL, "cases": {"a": {"seed": 1}, "b": {"method": "grpo"}}})),
}  # fmt: skip
