"""`creditree eval` and `creditree compare` as a user types them, on the built-in models; killed and continued."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.e2e.command import STOPPED, creditree, creditree_json, start

PROBLEMS = 30
SAMPLES = 6
SUITE = ("aime24", "aime25", "amc23", "math500", "minerva", "olympiadbench")


def write_problems(path: Path, count: int) -> Path:
    """Products that the built-in model gets right sometimes."""
    pairs = [(100 + 37 * number % 900, 2 + number % 8) for number in range(count)]
    rows = [{"id": f"p{n}", "question": f"{a}*{b}=\n", "answers": [str(a * b)]} for n, (a, b) in enumerate(pairs)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def command(data: Path, *more: str | Path) -> tuple[str | Path, ...]:
    """An evaluation of several completions a problem, in many small pieces."""
    return (
        "eval", "builtin:multiplication", "--task", "file", "--data", data, "--samples", str(SAMPLES), "--k", "1,2,6",
        "--max-new-tokens", "48", "--temperature", "0.6", "--set", "train.max_rows=12", *more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_problems(tmp_path_factory.mktemp("data") / "products.jsonl", PROBLEMS)


@pytest.fixture(scope="module")
def whole(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "out"
    done = creditree(*command(data, "--out", out))
    for words in ("pass@1", "pass@k", "maj@k", "tokens per solved problem"):
        assert words in done.stdout
    assert f"180 of {PROBLEMS * SAMPLES} completions" in done.stderr
    return out


def test_json_has_the_names_that_scripts_rely_on(whole: Path) -> None:
    found = json.loads((whole / "result.json").read_text())
    assert (found["task"], found["n"], found["completions"]) == ("products", 30, 180)
    assert set(found) >= {"pass@1", "pass@k", "maj@k", "pass@2", "truncated", "tokens_per_solved", "statuses"}
    assert set(found["pass@k"]) == set(found["maj@k"]) == {"1", "2", "6"}
    for entry in (found["pass@1"], *found["pass@k"].values(), *found["maj@k"].values()):
        low, high = entry["interval"]
        assert 0 <= low <= entry["value"] <= high <= 1
    assert found["pass@1"] == found["pass@k"]["1"]
    assert 0 < found["pass@1"]["value"] < found["pass@2"]["value"] < found["pass@k"]["6"]["value"]
    assert sum(found["statuses"].values()) == 180
    assert len(found["data"]["sha256"]) == 64


def test_the_tables_of_problems_and_completions_agree_with_the_result(whole: Path) -> None:
    found = json.loads((whole / "result.json").read_text())
    problems = pq.read_table(whole / "problems.parquet").to_pylist()
    assert [row["problem_id"] for row in problems] != [f"p{n}" for n in range(PROBLEMS)]
    assert {row["completions"] for row in problems} == {SAMPLES}
    assert sum(row["correct"] for row in problems) / 180 == pytest.approx(found["pass@1"]["value"])
    assert sum(row["correct"] > 0 for row in problems) / 30 == pytest.approx(found["pass@k"]["6"]["value"])
    parts = sorted((whole / "completions" / "products" / "T=0.6" / "measured").glob("part-*.parquet"))
    assert len(parts) == 15
    rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
    assert sum(row["num_tokens"] for row in rows) == found["tokens"]
    assert all("*" in row["text"] or "=" in row["text"] or row["text"].strip() for row in rows)


def wait_for_parts(out: Path, count: int, process: Any) -> None:
    """Wait until the evaluation has written so many pieces."""
    while process.poll() is None and len(list(out.rglob("part-*.parquet"))) < count:
        time.sleep(0.005)


@STOPPED
def test_killed_and_repeated_samples_only_what_is_missing(
    how: signal.Signals, code: int, data: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    process = start(*command(data, "--out", out))
    wait_for_parts(out, 3, process)
    process.send_signal(how)
    _, err = process.communicate(timeout=120)
    assert process.returncode == code
    assert not (out / "result.json").exists()
    assert how is signal.SIGKILL or "repeat the command to continue" in err
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("part-*.parquet")}
    assert 3 <= len(kept) < 15
    resumed = creditree(*command(data, "--out", out))
    assert f"products T=0.6: {12 * len(kept)} of 180 completions" in resumed.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(out.rglob("part-*.parquet"))) == 15
    assert (out / "result.json").read_text() == (whole / "result.json").read_text()
    assert (out / "problems.parquet").read_bytes() == (whole / "problems.parquet").read_bytes()


def test_other_settings_are_refused_and_other_ks_are_not(data: Path, whole: Path) -> None:
    refused = creditree(*command(data, "--out", whole, "--samples", "7"), code=2)
    assert "tasks.products.samples is 6 in the evaluation and 7 now" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    before = (whole / "result.json").read_text()
    assert set(creditree_json(*command(data, "--out", whole, "--k", "3"))["pass@k"]) == {"1", "3"}
    creditree(*command(data, "--out", whole))
    assert (whole / "result.json").read_text() == before


def test_saved_evaluations_are_compared_in_pairs(data: Path, whole: Path, tmp_path: Path) -> None:
    other = tmp_path / "hot"
    creditree(*command(data, "--out", other, "--set", "sampling.top_p=0.5"))
    found = creditree_json("compare", whole, other)
    (pair,) = found["pairs"]
    assert (pair["task"], pair["n"], pair["same_random_numbers"]) == ("products", 30, True)
    values = [entry["tasks"]["products"]["value"] for entry in found["runs"]]
    assert pair["value"] == pytest.approx(values[1] - values[0])
    assert pair["interval"][0] <= pair["value"] <= pair["interval"][1]
    assert pair["conclusion"] in creditree("compare", whole, other).stdout.replace("\n", " ").replace("  ", " ")
    refused = creditree("compare", whole, other, "--decoding", "greedy", code=2)
    assert "was not measured in every run" in refused.stderr


def test_the_suite_averages_six_sets_from_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "sets"
    folder.mkdir()
    for number, name in enumerate(SUITE):
        write_problems(folder / f"{name}.jsonl", 3 + number)
    options = ("--max-new-tokens", "40", "--set", "reward=last_integer", "--samples", "2", "--problems", "5")
    prompt = ("--set", "task.prompt.text='{question}'")
    found = creditree_json(
        "eval", "builtin:multiplication", "--suite", "attnrl", "--data-dir", folder, *options, *prompt,
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert list(found["tasks"]) == list(SUITE)
    assert [one["n"] for one in found["tasks"].values()] == [3, 4, 5, 5, 5, 5]
    assert {one["completions"] // one["n"] for one in found["tasks"].values()} == {2}
    assert {name for one in found["tasks"].values() for name in one["decoding"]} == {"T=0.6"}
    mean = sum(one["pass@1"]["value"] for one in found["tasks"].values()) / 6
    assert found["average"]["T=0.6"]["pass@1"]["value"] == pytest.approx(mean)
    (folder / "minerva.jsonl").unlink()
    (folder / "amc23.jsonl").unlink()
    refused = creditree("eval", "builtin:multiplication", "--suite", "attnrl", "--data-dir", folder, code=2)
    assert "no amc23.jsonl, no minerva.jsonl" in refused.stderr
