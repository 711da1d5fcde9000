"""`creditree pilot` where it does not go smoothly: stopped, killed, refused, or told that training cannot help."""

import csv
import json
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from creditree.problem import Problem
from creditree.rng import Key
from creditree.tasks import Multiplication, WordProblems
from tests.e2e.command import Refuse, creditree, creditree_json, start

MODEL = ("--model", "builtin:multiplication")


def write(path: Path, problems: Iterable[Problem], header: Sequence[str] = ("question", "answer")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows((problem.question, problem.answers[0]) for problem in problems)
    return path


def products(count: int, digits: int = 3) -> list[Problem]:
    task = Multiplication(digits_a=digits)
    return [task.training(Key.of(5), index) for index in range(count)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("pilot") / "products.csv", products(200))


def stop_at(asked: Sequence[str | Path], there: Callable[[], bool], how: signal.Signals) -> int:
    """Start the command, send it a signal once something is there, and return its exit code."""
    process = start(*asked)
    deadline = time.monotonic() + 120
    while not there() and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    process.send_signal(how)
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.thorough
def test_interrupted_and_killed_it_goes_on_where_it_was(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("pilot", table, *MODEL, "--budget", "20s", "--out", out)
    assert stop_at(asked, lambda: any(out.glob("base/*/part-*.parquet")), signal.SIGINT) == 130
    sampled = {path: path.stat().st_mtime_ns for path in out.glob("base/*/part-*.parquet")}
    assert sampled
    assert not (out / "choice.json").exists()
    assert stop_at(asked, lambda: (out / "run" / "metrics.jsonl").exists(), signal.SIGKILL) == -signal.SIGKILL
    trials = {path: path.stat().st_mtime_ns for path in out.glob("trials/*/summary.json")}
    assert not (out / "report.json").exists()
    record = creditree_json(*asked)
    assert record == json.loads((out / "report.json").read_text())
    assert {path: path.stat().st_mtime_ns for path in sampled} == sampled
    assert {path: path.stat().st_mtime_ns for path in trials} == trials
    assert len(trials) == len(record["trials"])
    assert record["result"]["n"] == 60
    assert record["recommendation"]["decision"] in ("use", "use_with_care", "extend", "stop")


@pytest.fixture(scope="module")
def hopeless(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A table whose answers the model cannot give, and the directory of a pilot on it."""
    folder = tmp_path_factory.mktemp("hopeless")
    wrong = [replace(one, answers=(str(10**7 + index),)) for index, one in enumerate(products(60))]
    table, out = write(folder / "wrong.csv", wrong), folder / "out"
    done = creditree("pilot", table, *MODEL, "--budget", "8s", "--out", out)
    assert "Do not train yet" in " ".join(done.stdout.split())
    return table, out


def test_where_nothing_is_ever_solved_it_says_so_and_does_not_train(hopeless: tuple[Path, Path]) -> None:
    _, out = hopeless
    record = json.loads((out / "report.json").read_text())
    assert record["outlook"]["verdict"] == "no_signal"
    assert record["recommendation"]["decision"] == "no_signal"
    assert "result" not in record
    assert not (out / "run").exists()
    assert "## Can it work here?" in (out / "report.md").read_text()


@pytest.mark.slow
def test_where_the_grader_cannot_read_the_answers_it_is_the_suspect(tmp_path: Path) -> None:
    """The model answers 31, and the table has "Room 31": nothing is right, and it is not the model's fault."""
    task = WordProblems()
    problems = [task.training(Key.of(5), index) for index in range(80)]
    rooms = [replace(one, answers=(f"Room {one.answers[0]}",)) for one in problems]
    table, out = write(tmp_path / "rooms.csv", rooms), tmp_path / "out"
    asked = ("pilot", table, "--model", "builtin:word_problems", "--budget", "40s", "--out", out)
    record = creditree_json(*asked)
    assert record["recommendation"]["decision"] == "suspect_grader"
    assert record["outlook"]["suspicion"]["right"] == 0
    assert record["data"]["grading"]["grader"] == "exact"
    said = "the grader, not the model, is the suspect"
    assert said in record["recommendation"]["text"]
    assert said in " ".join((out / "report.md").read_text(encoding="utf-8").split())
    assert said in " ".join(creditree(*asked).stdout.split())
    lines = creditree("grade", out / "suspect.jsonl", "--grader", "exact", "--json").stdout.splitlines()
    found = [json.loads(line) for line in lines]
    assert found
    assert all(row["reward"] == 0.0 and row["answer"].lstrip("-").isdigit() for row in found)


def test_a_refused_table_leaves_the_directory_free(refuse: Refuse, tmp_path: Path, table: Path) -> None:
    few = write(tmp_path / "few.csv", products(20))
    out = tmp_path / "out"
    sentence = refuse("pilot", few, *MODEL, "--out", out)
    assert "Only 20 problems can be used" in sentence
    assert "at least 40" in sentence
    sentence = refuse("pilot", table, *MODEL, "--question", "frage", "--out", out)
    assert "no column 'frage'" in sentence
    assert "Known: " in sentence or "Did you mean" in sentence


def test_answers_that_no_grader_reads_end_it(refuse: Refuse, tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", products(60))
    sentence = refuse("pilot", table, *MODEL, "--reward", "choice", "--out", tmp_path / "out")
    assert "choice cannot read" in sentence
    assert "--reward" in sentence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--budget", "soon"), "--budget is 'soon'"),
        (("--memory", "8"), "--memory is '8'"),
        (("--memory", "5MB"), "memory"),
        (("--metric", "column:wrth"), "no such column"),
        (("--metric", "nofile.py:score"), "nofile.py"),
        (("--by", "kind"), "--by kind"),
        (("--prompt", "no field"), "has no field"),
        (("--model", "builtin:nothing"), "does not ship"),
        (("--set", "train.stepz=3"), "stepz"),
        (("--dtype", "float8"), "dtype"),
        (("--device", "tpu"), "model.device is 'tpu'"),
        (("--guard", "nothing.csv"), "nothing.csv cannot be read"),
        (("--set", "method.group=4"), "a pilot sets method.group itself"),
        (("--metric", "column:question"), "which is no number"),
    ],
)
def test_bad_options_are_one_sentence(
    options: tuple[str, str], words: str, refuse: Refuse, table: Path, tmp_path: Path
) -> None:
    model = () if "--model" in options else MODEL
    assert words in refuse("pilot", table, *model, *options, "--out", tmp_path / "out")


def test_a_guard_that_cannot_be_used_is_refused_before_anything_is_trained(
    refuse: Refuse, table: Path, tmp_path: Path
) -> None:
    guard = write(tmp_path / "guard.csv", products(5), header=("question", "solution"))
    sentence = refuse("pilot", table, *MODEL, "--guard", guard, "--out", tmp_path / "out")
    assert "no column 'answer'" in sentence


def test_other_settings_and_another_table_are_refused(refuse: Refuse, hopeless: tuple[Path, Path]) -> None:
    table, out = hopeless
    sentence = refuse("pilot", table, *MODEL, "--budget", "30s", "--out", out)
    assert "budget_s is 8.0 in the pilot and 30.0 now" in sentence
    write(table, products(50))
    assert "problems_sha256" in refuse("pilot", table, *MODEL, "--budget", "8s", "--out", out)


def test_a_directory_of_somebody_else_is_left_alone(refuse: Refuse, table: Path, tmp_path: Path) -> None:
    own = tmp_path / "mine" / "problems"
    own.mkdir(parents=True)
    copy = own / "products.jsonl"
    copy.write_bytes(table.read_bytes())
    sentence = refuse("pilot", table, *MODEL, "--out", tmp_path / "mine")
    assert "holds problems and no pilot" in sentence
    assert copy.read_bytes() == table.read_bytes()


def test_a_wrong_column_of_questions_is_one_sentence(refuse: Refuse, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    lines = [f"{problem.question},{problem.answers[0]},same" for problem in products(60)]
    table.write_text("\n".join(["question,answer,kind", *lines]) + "\n")
    out = tmp_path / "out"
    assert "several answers in different rows" in refuse("pilot", table, *MODEL, "--question", "kind", "--out", out)
    sentence = refuse("pilot", table, *MODEL, "--question", "kind", "--prompt", "{kind} {question}", "--out", out)
    assert "--prompt" in sentence or "several answers" in sentence


def test_a_reward_that_never_is_1_is_refused(refuse: Refuse, table: Path, tmp_path: Path) -> None:
    code = tmp_path / "frac.py"
    code.write_text("def partial(completions, **columns):\n    return [0.8 for _ in completions]\n")
    sentence = refuse("pilot", table, *MODEL, "--reward", f"{code}:partial", "--out", tmp_path / "out")
    assert "let the function return 1 for a right answer" in sentence


@pytest.mark.slow
def test_a_base_that_solves_nothing_begins_with_the_solutions(tmp_path: Path) -> None:
    """The base multiplies, and is asked for 700 and the last digit: it never says that, and the solutions do."""
    table, out = tmp_path / "digits.csv", tmp_path / "out"
    with table.open("w", newline="", encoding="utf-8") as file:
        rows = [(one.question, 700 + int(one.answers[0]) % 10) for one in products(300)]
        csv.writer(file).writerows([("question", "answer", "solution"), *((q, a, a) for q, a in rows)])
    record = creditree_json("pilot", table, *MODEL, "--budget", "40s", "--out", out)
    assert record["outlook"]["verdict"] == "cold_start"
    assert record["outlook"]["cold_start"]["solutions_right"] == 1.0
    assert record["result"]["difference"]["value"] > 0.2
    text = record["recommendation"]["text"]
    assert "The base model solves next to nothing" in text
    assert f"It began so: {record['choice']['method']}" in text
    assert "training begins with the worked solutions" in (out / "report.md").read_text(encoding="utf-8")
