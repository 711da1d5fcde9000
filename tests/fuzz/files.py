"""What reads files: tables of problems, the records of runs, and the answers of a server."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from creditree.engines.engine import SampleRequest
from creditree.engines.vllm.answers import Reader, scored
from creditree.engines.vllm.client import LackError, PassingError
from creditree.evaluate.summary import Summary
from creditree.rng import Key
from creditree.runs.checksums import Checksums
from creditree.runs.directory import RunDirectory
from creditree.runs.lock import RunLock
from creditree.tasks.table import SLICES, load_table
from creditree.tree import token_array
from tests.fuzz.oracle import law, refusing

ROWS = [{"id": f"r{n}", "question": f"{n} + 1?", "answer": str(n + 1)} for n in range(5)]
RECORDS = ("summary.json", "metrics.jsonl", "creditree.sha256", "resumed.json", "checkpoints/step-000001/manifest.json")


def _folder() -> Path:
    """Return a folder of this process, in memory where that is possible."""
    parent = "/dev/shm" if os.access("/dev/shm", os.W_OK) else tempfile.gettempdir()
    path = Path(parent) / f"creditree-fuzz-{os.getpid()}"
    path.mkdir(exist_ok=True)
    return path


def _table(suffix: str) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        """A table that is read has whole problems, and is read the same from what a program would write of them."""
        folder = _folder()
        path = folder / f"set{suffix}"
        path.write_bytes(data)
        try:
            with refusing():
                table = load_table(path, conflicts="drop")
                problems = [problem for slice_ in SLICES for problem in table.slices[slice_]]
                law(len({problem.id for problem in problems}) == len(problems), "two problems have one id")
                for problem in problems:
                    law(problem.question.strip() != "" and all(map(str.strip, problem.answers)), "something is empty")
                    law(len(problem.answers) > 0, "a problem has no answer")
                rows = [{"id": one.id, "question": one.question, "answers": list(one.answers)} for one in problems]
                (folder / "again.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
                again = load_table(folder / "again.jsonl", conflicts="drop")
                read_again = {problem for slice_ in SLICES for problem in again.slices[slice_]}
                law(read_again == set(problems), "it is another table when it is written and read again")
        finally:
            shutil.rmtree(folder)

    return read


def records(data: bytes) -> None:
    """One file of a run; the first byte says which."""
    folder = _folder()
    try:
        name = RECORDS[data[0] % len(RECORDS)] if data else RECORDS[0]
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data[1:])
        (folder / "config.yaml").write_text("task: multiplication\n", encoding="utf-8")
        with refusing():
            run = RunDirectory.read(folder)
            Checksums(folder).damages()
            run.metrics()
            law(all(isinstance(note, str) for note in run.notes), "a note is no text")
        with refusing():
            Summary.from_json(run.read_json("summary.json"))
        with refusing(), RunDirectory(folder, RunLock(folder)) as own:
            own.restore()
    finally:
        shutil.rmtree(folder)


def server(data: bytes) -> None:
    """What a server says: completions and log-probabilities, or an error that is asked again."""
    try:
        answer = json.loads(data)
    except (ValueError, RecursionError):
        return
    request = SampleRequest(token_array([1, 2]), (Key.of(0), Key.of(1)), 3)
    with refusing(LackError, PassingError):
        for drawn in Reader(9, [0]).read(answer, "m", request):
            law(len(drawn.token_ids) == len(drawn.logprobs) and bool(np.all(np.isfinite(drawn.logprobs))), "not whole")
    with refusing(LackError, PassingError):
        law(bool(np.all(np.isfinite(scored(answer, "m", token_array([1, 2]))))), "a log-probability is none")


def _parquet() -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink, compression="none")
    written: bytes = sink.getvalue().to_pybytes()
    return written.decode("latin-1")


TARGETS: dict[str, Callable[[bytes], None]] = {
    "csv": _table(".csv"), "jsonl": _table(".jsonl"), "json": _table(".json"), "parquet": _table(".parquet"),
    "records": records, "server": server,
}  # fmt: skip
_CHOICE = {"index": 0, "token_ids": [3, 0], "logprobs": {"token_logprobs": [-1.0, -0.5]}, "finish_reason": "stop"}
SEEDS: dict[str, tuple[str, ...]] = {
    "csv": ("id,question,answer\n1,2+3?,5\n2,\"a, b\",\"6\"\n", "question,answers\nx,y\n",
            "\ufeffquestion,answer,split\nx,1,test\n"),
    "jsonl": ("".join(f"{json.dumps(row)}\n" for row in ROWS),
              '{"question": "x", "answers": [1, "2"], "solution": "s"}\n'),
    "json": (json.dumps(ROWS), '[{"question": "x", "answer": 1.5, "split": "test", "c": {"d": [1]}}]'),
    "parquet": (_parquet(),),
    "records": (
        "\x00" + json.dumps({"method": "grpo", "decoding": {}, "seconds": {}, "tokens": {}}),
        '\x01{"step": 1, "loss": 0.5}\n{"step": 2}\n', f"\x02{'0' * 64}  summary.json\n", '\x03{"notes": ["x"]}',
        "\x04" + json.dumps({"step": 1, "files": {name: {"bytes": 1, "sha256": "0" * 64} for name in
                                                   ("arrays.safetensors", "state.json")}, "metrics": None}),
    ),
    "server": (json.dumps({"id": "a", "model": "m", "choices": [_CHOICE, {**_CHOICE, "index": 1}]}),
               json.dumps({"model": "m", "choices": [_CHOICE | {"prompt_logprobs": [None, {"2": {"logprob": -1}}]}]})),
}  # fmt: skip
