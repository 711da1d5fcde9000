"""Benchmark sets from a stand-in for the hub, and from files."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import pytest
from datasets import Dataset

from creditree.errors import ConfigError, DataError
from creditree.evaluate.suite import SUITES
from creditree.models.texts import Texts
from creditree.problem import Problem, fingerprint
from creditree.sources import BenchmarkName
from creditree.tasks import BENCHMARKS, PromptTemplate, benchmark
from tests.tiny_models import char_tokenizer

NAMES = get_args(BenchmarkName)


def rows_of(name: str, count: int = 4) -> list[dict[str, object]]:
    """Rows with the columns of the hub's set."""
    answers: dict[str, object] = {"gsm8k": "3 + 4 = <<3+4=7>>7\n#### 1,007", "olympiadbench": ["$7$", "8"]}
    question = "question" if name in ("gsm8k", "amc23", "minerva", "olympiadbench") else "problem"
    answer = "final_answer" if name == "olympiadbench" else "answer"
    return [
        {question: f"{name} asks {number}", answer: answers.get(name, "7"), "solution": "long"}
        for number in range(count)
    ]


class Hub:
    """Holds one set under its hub name, and counts what is asked for."""

    def __init__(self, name: BenchmarkName, rows: Mapping[str, list[dict[str, object]]]) -> None:
        self.spec, self.rows, self.asked = BENCHMARKS[name], rows, [("", "")]

    def __call__(self, *name: str, split: str) -> Iterable[Mapping[str, object]]:
        subset = () if self.spec.subset is None else (self.spec.subset,)
        assert name == (self.spec.hub, *subset)
        self.asked.append((name[0], split))
        loaded: Iterable[Mapping[str, object]] = Dataset.from_list(self.rows[split])
        return loaded


@pytest.mark.parametrize("name", [name for name in NAMES if name != "gsm8k"])
def test_the_hubs_columns_become_questions_and_answers(name: BenchmarkName) -> None:
    task = benchmark(name, load_dataset=Hub(name, {BENCHMARKS[name].split: rows_of(name)}))
    problems = task.held_out("test")
    assert (task.name, task.num_training, len(problems)) == (name, 0, 4)
    assert {problem.question for problem in problems} == {f"{name} asks {number}" for number in range(4)}
    assert {problem.answers for problem in problems} == {("7", "8") if name == "olympiadbench" else ("7",)}
    assert task.prompt.render(problems[0]) == (
        f"{problems[0].question} Let's think step by step and output the final answer within \\boxed{{}}."
    )
    with pytest.raises(DataError, match="no validation problems"):
        task.held_out("validation")


def test_gsm8k_has_training_problems_and_counts_what_follows_the_four_signs() -> None:
    training = [{**row, "question": f"train {number}"} for number, row in enumerate(rows_of("gsm8k", 200))]
    hub = Hub("gsm8k", {"train": [*training, rows_of("gsm8k")[0]], "test": rows_of("gsm8k")})
    task = benchmark("gsm8k", load_dataset=hub)
    assert {problem.answers for problem in task.held_out("test")} == {("1,007",)}
    # A tenth of 200 is for validation, by hash; the question that is in the test split too is no training problem.
    assert 10 <= len(task.held_out("validation")) <= 30
    assert task.num_training == 200 - len(task.held_out("validation"))


def test_a_repeated_question_of_a_benchmark_counts_twice() -> None:
    rows = rows_of("aime24", 3)
    task = benchmark("aime24", load_dataset=Hub("aime24", {"train": [*rows, rows[0]]}))
    assert len(task.held_out("test")) == 4
    with pytest.raises(DataError, match="has the id 'x' twice"):
        benchmark("aime24", load_dataset=Hub("aime24", {"train": [{**row, "id": "x"} for row in rows]}))


def test_without_network_one_sentence_says_how_to_give_a_file() -> None:
    def unreachable(*name: str, split: str) -> Iterable[Mapping[str, object]]:
        raise ConnectionError("Couldn't reach\nthe hub")

    with pytest.raises(DataError, match=r"math-ai/aime25 .*ConnectionError.*\(task\.path\)") as raised:
        benchmark("aime25", load_dataset=unreachable)
    assert "\n" not in str(raised.value)


def test_a_file_stands_in_for_the_hub_in_either_form(tmp_path: Path) -> None:
    hub = benchmark("minerva", load_dataset=Hub("minerva", {"test": rows_of("minerva")}))
    file = tmp_path / "minerva.jsonl"
    lines = [{"question": row["question"], "answers": [row["answer"]]} for row in rows_of("minerva")]
    file.write_text("\n".join(map(json.dumps, lines)))
    local = benchmark("minerva", file)
    assert [p.digest for p in local.held_out("test")] == [p.digest for p in hub.held_out("test")]
    file.write_text('{"question": "without an answer"}')
    with pytest.raises(
        DataError, match=r"Line 1 of .* has no answer: name its column answers or answer or final_answer"
    ):
        benchmark("minerva", file)


def test_a_split_column_is_heeded(tmp_path: Path) -> None:
    file = tmp_path / "x.jsonl"
    rows = [{"question": f"{n}?", "answer": n, "split": "train" if n else "test"} for n in range(30)]
    file.write_text("\n".join(map(json.dumps, rows)))
    task = benchmark("math500", file)
    assert [problem.question for problem in task.held_out("test")] == ["0?"]
    assert (task.num_training or 0) + len(task.held_out("validation")) == 29


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'math500'"):
        benchmark("math50")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "file", "count", "answers"),
    [
        ("aime24", "aime24.jsonl", 30, ("204",)),
        ("aime25", "aime25.jsonl", 30, ("70",)),
        ("amc23", "amc23.jsonl", 40, ("27",)),
        ("math500", "math500.jsonl", 500, ("\\left( 3, \\frac{\\pi}{2} \\right)",)),
        ("gsm8k", "gsm8k_test.jsonl", 1319, ("18",)),
    ],
)
def test_the_published_files(
    name: BenchmarkName, file: str, count: int, answers: tuple[str, ...], shared_data: Path
) -> None:
    task = benchmark(name, shared_data / file)
    problems = task.held_out("test")
    assert len(problems) == count == BENCHMARKS[name].num_problems
    first = json.loads((shared_data / file).read_text(encoding="utf-8").splitlines()[0])
    assert next(problem for problem in problems if problem.id == first["id"]).answers == answers


def test_the_suite_asks_for_8984_completions() -> None:
    # 32 * (30 + 30 + 40) + 4 * (500 + 272 + 674) = 3200 + 5784 = 8984, as AttnRL counts.
    suite = SUITES["attnrl"]
    assert sum(k * BENCHMARKS[name].num_problems for name, k in suite.samples.items()) == 8984
    assert (suite.temperature, suite.top_p, suite.max_new_tokens) == (0.6, 1.0, 32768)


def test_the_fingerprint_is_of_content_and_order() -> None:
    one, other = Problem("a", "1+1", ("2",)), Problem("b", "1+2", ("3",))
    # sha256 of [["a","1+1",["2"]],["b","1+2",["3"]]], computed with sha256sum.
    expected = "9a4a15fcd81d947dab23a8f8f63bbf8aa578728e136b658d96d5f43fa418a420"
    assert fingerprint([one, other]) == expected
    assert fingerprint([other, one]) != expected
    assert fingerprint([one, Problem("b", "1+2", ("4",))]) != expected
    assert one.digest == Problem("else", "1+1", ("2",), {"column": 1}).digest != other.digest


def test_auto_takes_the_chat_format_where_there_is_one() -> None:
    tokenizer: Any = char_tokenizer()
    texts = Texts("random", tokenizer)
    problem, prompt = Problem("a", "1+1=", ("2",)), PromptTemplate("{question}")
    assert prompt.encode(problem, texts) == PromptTemplate("{question}", chat=False).encode(problem, texts)
    with pytest.raises(ConfigError, match="no chat template"):
        PromptTemplate("{question}", system="be brief").encode(problem, texts)
    tokenizer.chat_template = "{% for m in messages %}({{ m['content'] }}){% endfor %}"
    assert texts.exact(prompt.encode(problem, texts)) == "(1+1=)"


def test_the_package_datasets_reads_a_folder_in_the_hubs_layout(tmp_path: Path) -> None:
    for split, rows in (("test", rows_of("olympiadbench")), ("train", rows_of("olympiadbench", 2))):
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = benchmark("olympiadbench", f"hub:{tmp_path}#test")
    assert len(task.held_out("test")) == 4
    assert task.held_out("test")[0].answers == ("7", "8")
    with pytest.raises(DataError, match="could not be loaded"):
        benchmark("olympiadbench", f"hub:{tmp_path}#validation")
