"""Malformed inputs by family, each from a valid one, the same for a seed: what is fed in, and what success must say."""

import csv
import json
import random
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from creditree.config.schema import RunConfig
from creditree.tasks.rows import read_rows
from creditree.tasks.table import problem_of
from tests.malformed.mutations import VALUES, mutated
from tests.malformed.outcomes import Case, Check

ROWS = [{"id": f"r{n}", "question": f"What is {n} plus {n * n}?", "answer": str(n + n * n)} for n in range(12)]
CONFIG: dict[str, Any] = {
    "seed": 3,
    "model": {"name": "builtin:multiplication", "dtype": "float32"},
    "lora": {"rank": 4, "layers": "1/2", "targets": ["q_proj", "v_proj"]},
    "task": {"name": "multiplication", "digits_a": 2, "prompt": {"text": "{question}"}},
    "reward": {"name": "numeric", "tolerance": 0.1},
    "method": {"name": "t-spmo", "group": 4, "successes": 1, "l2": 0.0},
    "sampling": {"temperature": 0.7, "max_new_tokens": 24},
    "train": {"steps": 2, "problems_per_step": 1, "learning_rate": 1e-3, "betas": [0.9, 0.99], "threads": 1},
    "evaluation": {"problems": 2, "temperatures": [0, 0.5]},
    "log": {"checkpoint_every": 1, "rollouts_every": 1},
}

LISTS: dict[str, Any] = CONFIG | {
    "reward": ["last_integer", {"name": "format", "weight": 0.2, "pattern": "x"}, {"name": "overlong", "cache": 0.5}],
    "task": {"mixture": [{"name": "multiplication", "weight": 2, "digits_a": 2}, "word_problems"]},
}
ITEMS = (
    "reward", "reward.0", "reward.1.weight", "reward.1.pattern", "reward.2.cache", "reward.9.weight", "reward.1.x",
    "reward.combine", "reward.rewards", "reward.rewards.1", "reward.name", "task.mixture", "task.mixture.1",
    "task.mixture.0.weight", "task.mixture.0.name", "task.mixture.0.digits_a", "task.mixture.x", "task.name",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sources:
    """Valid inputs that cost something to make: a model directory and a finished run, None where they are left out."""

    model: Path | None = None
    run: Path | None = None


def cases(folder: Path, seed: int, counts: Mapping[str, int], sources: Sources) -> Iterator[Case]:
    """Yield so many cases of each family, each in a folder of its own that is removed once the next one is made."""
    makers = {
        "configuration": _configuration,
        "override": _override,
        "lists": _lists,
        "sweep": _sweep,
        "data": _data,
        "predictions": _predictions,
        "model": _model,
        "run": _run,
    }
    for family, count in counts.items():
        for number in range(count):
            place = folder / f"{family}-{number}"
            place.mkdir(parents=True)
            yield makers[family](place, random.Random(f"{seed}/{family}/{number}"), sources)


def _leaves(values: Mapping[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for key, value in values.items():
        found.append((*prefix, key))
        if isinstance(value, dict):
            found += _leaves(value, (*prefix, key))
    return found


def _is_config(out: str) -> str:
    """Return what is wrong with the JSON of a dry run."""
    try:
        found = json.loads(out)["config"]
        RunConfig.model_validate(found)
    except (KeyError, ValueError) as error:
        return f"no configuration was printed: {str(error)[:200]}"
    return ""


def _keeps(path: tuple[str, ...], value: object) -> Check:
    """Return a check that the printed configuration holds this number or text, not another one."""

    def check(out: str) -> str:
        wrong = _is_config(out)
        if wrong or isinstance(value, list | dict) or value is None or path[0] == "reward":
            return wrong
        found: Any = json.loads(out)["config"]
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, dict):
            found = found.get("name")
        same = found == value or str(found) == str(value) or _number(found) == _number(value) is not None
        return "" if same else f"{'.'.join(path)} is {found!r} and not {value!r}"[:200]

    return check


def _number(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None


def _configuration(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A file of YAML: damaged text, or one value of another kind."""
    path, values = place / "run.yaml", json.loads(json.dumps(CONFIG))
    command = ("train", "run.yaml", "--dry-run", "--json")
    if draw.random() < 0.5:
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        return Case("configuration", mutated(path, draw), place, command, _is_config)
    *blocks, last = draw.choice(_leaves(values))
    block = values
    for key in blocks:
        block = block[key]
    value = draw.choice(VALUES)
    block[last] = value
    path.write_bytes(yaml.safe_dump(values, allow_unicode=False).encode(errors="surrogatepass"))
    return Case("configuration", f"{last}={str(value)[:20]!r}", place, command, _keeps((*blocks, last), value))


def _override(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A dotted key, often a wrong one, with a value of any kind."""
    (place / "run.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    key = list(draw.choice(_leaves(CONFIG)))
    change = draw.randrange(8)
    if change == 0:
        key[-1] = key[-1][:-1] + "x"
    elif change == 1:
        key.append(draw.choice(["", "x", "name", "y" * 5000]))
    value = draw.choice(VALUES)
    written = draw.choice(["1:30", "010", "*a", "[", "{", "!!int x", "&a [*a]"]) if change == 2 else _written(value)
    check = _is_config if change < 3 else _keeps(tuple(key), value)
    override = f"{'.'.join(key)}={written}".replace("\0", "\\0")
    return Case("override", f"{key[-1][:20]}={written[:20]!r}", place,
                ("train", "run.yaml", "--dry-run", "--json", "--set", override), check)  # fmt: skip


def _lists(place: Path, draw: random.Random, sources: Sources) -> Case:
    """Several rewards and a mixture of tasks, one item or key of which is anything."""
    (place / "run.yaml").write_text(yaml.safe_dump(LISTS), encoding="utf-8")
    key, written = draw.choice(ITEMS), _written(draw.choice(VALUES))
    override = f"{key}={written}".replace("\0", "\\0")
    command = ("train", "run.yaml", "--dry-run", "--json", "--set", override)
    return Case("lists", f"{key}={written[:20]!r}", place, command, _is_config)


def _written(value: object) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=10**9)).strip().removesuffix("...").strip()


SEARCH: dict[str, Any] = {
    "space": {"train.learning_rate": {"low": 0.001, "high": 0.01, "scale": "log"}},
    "compositions": {"a": {"method.group": [4, 6]}, "b": {"train.problems_per_step": 2}},
    "baseline": "a",
    "settings": 2,
    "budget": {"tokens": 100_000},
    "rungs": 2,
    "eta": 2,
    "confirm": {"seeds": 2, "level": 0.05},
}


def _sweep(place: Path, draw: random.Random, sources: Sources) -> Case:
    path = place / "sweep.yaml"
    values: dict[str, Any] = {
        "base": CONFIG,
        "grid": {"method.group": [4, 6]},
        "cases": {"a": {"seed": 1}},
        "seeds": [0, 1],
    }
    values["cases"] = {"a": {"train.steps": 2}}
    if draw.random() < 0.5:
        values = {"base": CONFIG, **SEARCH}
    if draw.random() < 0.4:
        path.write_text(yaml.safe_dump(values), encoding="utf-8")
        kind = mutated(path, draw)
    else:
        *blocks, last = draw.choice([path for path in _leaves(values) if path[0] != "base" or len(path) == 1])
        block = values
        for key in blocks:
            block = block[key]
        block[last] = draw.choice(VALUES)
        kind = f"{last}={str(block[last])[:20]!r}"
        path.write_bytes(yaml.safe_dump(values, allow_unicode=False).encode(errors="surrogatepass"))
    return Case("sweep", kind, place, ("sweep", "sweep.yaml", "--dry-run", "--json"))


def written_table(path: Path, rows: list[dict[str, Any]]) -> None:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix == ".csv":
        text = StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        path.write_bytes(text.getvalue().encode(errors="surrogatepass"))
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=0), encoding="utf-8")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _damaged_table(path: Path, draw: random.Random, rows: list[dict[str, Any]]) -> tuple[str, int]:
    """Write a damaged table; return how, and how many of its rows may be others than the valid ones."""
    if draw.random() < 0.6:
        written_table(path, rows)
        return mutated(path, draw), 3
    rows = [dict(row) for row in rows]
    row, column = draw.randrange(len(rows)), draw.choice(list(rows[0]))
    value = draw.choice([one for one in VALUES if path.suffix in (".jsonl", ".json") or isinstance(one, str | float)])
    rows[row][column] = value
    kind = f"{column}={str(value)[:20]!r}"
    try:
        written_table(path, rows)
    except (pa.ArrowException, UnicodeEncodeError):
        rows[row][column] = str(value).encode(errors="replace").decode()
        for one in rows:
            one[column] = str(one[column])
        written_table(path, rows)
    return kind, 1


def _data(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A file of problems in one of the formats."""
    suffix = draw.choice([".csv", ".csv", ".jsonl", ".jsonl", ".parquet", ".json"])
    path = place / f"set{suffix}"
    kind, others = _damaged_table(path, draw, ROWS)
    task = {"name": "file", "path": str(path), "validation": 0.3, "test": 0.3}
    (place / "run.yaml").write_text(yaml.safe_dump(CONFIG | {"task": task, "method": "grpo"}), encoding="utf-8")

    def check(_: str) -> str:
        valid = {(row["question"], (row["answer"],)) for row in ROWS}
        found = [(one.question, one.answers) for one in map(problem_of, read_rows(path))]
        strange = [one for one in found if one not in valid]
        if len(strange) > others:
            return f"{len(strange)} of {len(found)} problems are others than those that were written: {strange[:2]}"[
                :200
            ]
        lost = len(ROWS) - len(found) - others
        return f"{lost} problems were lost without a word" if lost > 0 and kind not in CUT else ""

    return Case("data", f"{suffix} {kind}", place, ("show", "run.yaml", "--json"), check)


CUT = ("cut", "missing", "swapped", "garbage", "inserted", "flipped", "doubled")
"""Damage that may leave a whole table with fewer rows, or join two: such a table is valid in its own right."""


def _predictions(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A file to be graded."""
    rows = [
        {"id": row["id"], "prediction": f"The answer is {row['answer']}.", "answers": row["answer"]} for row in ROWS
    ]
    path = place / f"rows{draw.choice(['.csv', '.jsonl', '.parquet'])}"
    kind, others = _damaged_table(path, draw, rows)

    def check(out: str) -> str:
        verdicts = [json.loads(line) for line in out.splitlines()]
        wrong = [one for one in verdicts if one["reward"] != 1]
        return f"{len(wrong)} right answers were refused" if len(wrong) > others else ""

    grader = draw.choice(["numeric", "exact", "last_integer", "choice"])
    return Case("predictions", f"{path.suffix} {kind}", place, ("grade", path.name, "--grader", grader, "--json"),
                check if grader in ("numeric", "last_integer") else lambda _: "")  # fmt: skip


def _one_file(folder: Path, draw: random.Random) -> tuple[str, str]:
    """Damage one file below a folder, or one value in a JSON of it; return how, and which."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size < 10**7)
    path = draw.choice(files)
    name = str(path.relative_to(folder))
    if path.suffix == ".json" and draw.random() < 0.6:
        values = json.loads(path.read_text(encoding="utf-8"))
        keys = _leaves(values) if isinstance(values, dict) else []
        if keys:
            *blocks, last = draw.choice(keys)
            block = values
            for key in blocks:
                block = block[key]
            block[last] = draw.choice(VALUES)
            kind = f"{last[:20]}={str(block[last])[:20]!r}"
            path.write_text(json.dumps(values), encoding="utf-8")
            return name, kind
    return name, mutated(path, draw)


def _model(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A model directory."""
    assert sources.model is not None
    shutil.copytree(sources.model, place / "model")
    name, kind = _one_file(place / "model", draw)
    command = ("eval", "model", "--task", "multiplication", "--problems", "2", "--temperature", "0", "--max-new-tokens",
               "3", "--json")  # fmt: skip
    return Case("model", f"{name} {kind}", place, command, _is_json)


def _run(place: Path, draw: random.Random, sources: Sources) -> Case:
    """A directory of a finished run."""
    assert sources.run is not None
    shutil.copytree(sources.run, place / "run")
    name, kind = _one_file(place / "run", draw)
    commands = [
        ("eval", "run", "--problems", "2", "--temperature", "0", "--max-new-tokens", "3", "--json"),
        ("compare", "run", str(sources.run), "--json"),
        ("train", str(sources.run / "config.yaml"), "--run", "run", "--resume", "--json"),
        ("train", "--from", "run", "--run", "new", "--dry-run", "--json"),
    ]
    command = draw.choice(commands)
    return Case("run", f"{name} {kind} ({' '.join(command[:2])})"[:100], place, command, _is_json)


def _is_json(out: str) -> str:
    try:
        json.loads(out)
    except ValueError as error:
        return f"no JSON was printed: {error}"
    return ""
